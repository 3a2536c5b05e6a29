# shellcheck shell=bash
# Part of ./x, which sources it: the linters of what `hakiri deploy aws` writes.

lint_tools=$cache/lint-aws

# An environment in $1 with exactly the packages of $2.
pinned() {
    python3 -m venv "$1"
    "$1/bin/python" -m pip install --quiet --no-deps --only-binary :all: -r "$2"
}

# cfn-lint in bin/, checkov in scan/bin/, statelint in node_modules/.bin, and an interpreter of state machines in node_modules. The
# stamp is written last, so an interrupted setup starts over.
setup_lint() {
    local want
    have node && have npm || apt_install nodejs npm
    want=$({ cat tests/requirements-lint.txt tests/requirements-scan.txt tests/lint/package.json; python3 --version; } | sha256sum | cut -d' ' -f1)
    [ "$(cat "$lint_tools/stamp" 2>/dev/null || true)" != "$want" ] || return 0
    say "making the linters of templates in $lint_tools"
    rm -rf "$lint_tools"
    # What the scan needs and what cfn-lint needs do not go together.
    pinned "$lint_tools" tests/requirements-lint.txt
    pinned "$lint_tools/scan" tests/requirements-scan.txt
    cp tests/lint/package.json "$lint_tools/"
    npm --prefix "$lint_tools" install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error >&2
    "$lint_tools/bin/cfn-lint" --version >/dev/null
    "$lint_tools/scan/bin/checkov" --version >/dev/null
    echo "$want" >"$lint_tools/stamp"
}
