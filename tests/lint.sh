# shellcheck shell=bash
# Part of ./x, which sources it: the linters of what `hakiri deploy aws` writes.

lint_tools=$cache/lint-aws

# cfn-lint in bin/, statelint in node_modules/.bin, and an interpreter of state machines in node_modules. The stamp is written last, so an interrupted setup starts over.
setup_lint() {
    local want
    have node && have npm || apt_install nodejs npm
    want=$({ cat tests/requirements-lint.txt tests/lint/package.json; python3 --version; } | sha256sum | cut -d' ' -f1)
    [ "$(cat "$lint_tools/stamp" 2>/dev/null || true)" != "$want" ] || return 0
    say "making the linters of templates in $lint_tools"
    rm -rf "$lint_tools"
    python3 -m venv "$lint_tools"
    "$lint_tools/bin/python" -m pip install --quiet --no-deps --only-binary :all: -r tests/requirements-lint.txt
    cp tests/lint/package.json "$lint_tools/"
    npm --prefix "$lint_tools" install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error >&2
    "$lint_tools/bin/cfn-lint" --version >/dev/null
    echo "$want" >"$lint_tools/stamp"
}
