# shellcheck shell=bash
# Part of ./x, which sources it: the stand-in for AWS. Tests of the catalog ask one server of DynamoDB alone; those of
# deployments start their own, by `hakiri dev aws` or from the same packages.

aws_venv=$cache/python-aws # where `hakiri dev aws` looks, which installs exactly this itself
aws_packages=crates/hakiri/src/dev/aws/requirements.txt

setup_aws() {
    local want all
    want=$({ cat "$aws_packages"; python3 --version; } | sha256sum | cut -d' ' -f1)
    all=$(sha256sum <tests/requirements-aws.txt | cut -d' ' -f1)
    [ "$(cat "$aws_venv/stamp" "$aws_venv/stamp-tests" 2>/dev/null || true)" != "$want"$'\n'"$all" ] || return 0
    say "making the environment of the stand-in for AWS in $aws_venv"
    rm -rf "$aws_venv"
    python3 -m venv "$aws_venv"
    "$aws_venv/bin/python" -m pip install --quiet --no-deps --only-binary :all: -r "$aws_packages" -r tests/requirements-aws.txt
    echo "$want" >"$aws_venv/stamp"
    echo "$all" >"$aws_venv/stamp-tests"
}

# aws_env DIR: what the tests are told, one NAME=VALUE a line.
aws_env() { printf '%s\n' "HAKIRI_TEST_AWS=$(cat "$1/url")" "HAKIRI_TEST_AWS_TOOLS=$aws_venv"; }

# aws_serve DIR: everything it writes is in DIR, and what it holds is in memory. With KEEP set it outlives this script.
aws_serve() {
    local dir=$1 port i urls=() lead=(setsid)
    aws_end "$dir"
    mkdir -p "$dir/home"
    if [ -z "${KEEP:-}" ] && have setpriv; then lead=(setpriv --pdeathsig KILL); fi
    # Each uses one core at most. A test asks the same one all the time.
    for _ in 1 2; do
        port=$("$aws_venv/bin/python" -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
        "${lead[@]}" env -i PATH="$PATH" HOME="$dir/home" TMPDIR="$dir/home" STATE_DIR="$dir/home/state" \
            "$aws_venv/bin/python" tests/aws_tables.py "$port" </dev/null >>"$dir/log" 2>&1 9>&- &
        echo "$!" >>"$dir/pid"
        for i in $(seq 300); do
            kill -0 "$!" 2>/dev/null || break
            if curl --silent --output /dev/null --fail --max-time 2 --noproxy '*' "http://127.0.0.1:$port/"; then
                urls+=("http://127.0.0.1:$port")
                break
            fi
            sleep 0.1
        done
    done
    if [ ${#urls[@]} = 2 ]; then
        (IFS=,; echo "${urls[*]}") >"$dir/url"
        return 0
    fi
    tail -n 20 "$dir/log" >&2
    aws_end "$dir"
    return 1
}

# Are the processes of DIR still the servers of DIR?
aws_alive() {
    local pid pids
    pids=$(cat "$1/pid" 2>/dev/null) || return 1
    for pid in $pids; do
        grep -F --null-data --line-regexp -- "HOME=$1/home" "/proc/$pid/environ" >/dev/null 2>&1 || return 1
    done
}

# aws_end DIR: ends the servers of DIR at once, since nothing of them survives anyhow, and removes DIR.
aws_end() {
    local dir=$1 pid
    for pid in $(cat "$dir/pid" 2>/dev/null); do
        grep -F --null-data --line-regexp -- "HOME=$dir/home" "/proc/$pid/environ" >/dev/null 2>&1 || continue
        kill -KILL "$pid" || true
        wait "$pid" 2>/dev/null || while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    done
    rm -rf "$dir"
}

aws() {
    local dir=$cache/aws/by-hand
    case ${1:-} in
    start)
        setup setup_test >&2
        setup setup_aws >&2
        if [ -f "$dir/url" ] && aws_alive "$dir"; then
            say "already running"
        else
            aws_end "$dir"
            KEEP=1 aws_serve "$dir"
        fi
        say "stop it with ./x aws stop"
        aws_env "$dir" | sed 's/^/export /'
        ;;
    stop) aws_end "$dir" ;;
    url) cat "$dir/url" 2>/dev/null || die "not running: ./x aws start" ;;
    *) usage >&2; exit 2 ;;
    esac
}
