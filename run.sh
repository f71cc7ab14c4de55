#!/usr/bin/env bash
# All commands of videozoo. The first call makes .venv and installs what the commands need.
#
#   bash run.sh setup                         install only
#   bash run.sh demo [MODEL|all] [--quick]    a first run with nothing to download
#   bash run.sh test [--slow] [PYTEST ARGS]   the tests
#   bash run.sh test --minimum [--all]        tests of what packages do for us, or all, with the oldest
#                                             packages that pyproject.toml allows, in .venv-minimum
#   bash run.sh check                         format, lint, types, imports
#   bash run.sh parity FOLDER                 compare with numbers recorded from the 2019 library
#   bash run.sh bench [NAME ...]              measure speed against the targets
#   bash run.sh train     NAME CONFIG [FLAGS] as in the 2019 library: train STNET ./configs/stnet.yaml
#   bash run.sh eval      NAME CONFIG [FLAGS]
#   bash run.sh predict   NAME CONFIG [FLAGS]
#   bash run.sh inference NAME CONFIG [FLAGS] export for onnxruntime
#
# The variables of the 2019 script can be set in the environment: pretrain, resume, weights, save_dir,
# save_inference_dir, use_gpu, fix_random_seed, log_interval, valid_interval. PYTHON names the
# Python to use.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv="$root/.venv"
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE} # idle threads that spin take the decoders' cores

usage() { sed -n '2,/^set /{/^#/!d;s/^# \{0,1\}//;p}' "$root/run.sh"; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    local found
    found=$("${PYTHON:-python3}" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo none)
    echo "run.sh: videozoo needs Python 3.11 or newer, found $found; install one or set PYTHON=/path/to/python3.11" >&2
    exit 1
}

installed() { # whether .venv matches pyproject.toml and constraints.txt
    [ -x "$venv/bin/python" ] && [ "$(cat "$venv/installed" 2>/dev/null)" = "$(wanted)" ]
}

wanted() { cat "$root/pyproject.toml" "$root/constraints.txt" | cksum; }

setup() {
    if installed; then return; fi
    local python
    python=$(find_python)
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        echo "run.sh: $python has no venv module; on Debian or Ubuntu: apt-get install python3-venv" >&2
        exit 1
    fi
    echo "run.sh: installing into .venv (PyTorch is large: a few minutes on a slow line)" >&2
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check \
        --constraint "$root/constraints.txt" --editable "$root[report,tensorboard,export,encoders,lite0,serve,dev]"
    wanted >"$venv/installed"
}

setup_minimum() { # .venv-minimum: the oldest Python and the oldest packages that pyproject.toml allows
    local reader oldest python wanted
    reader=$(find_python)
    oldest=python$("$reader" "$root/tools/minimum.py" --python)
    python=${PYTHON:-$oldest}
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        echo "run.sh: test --minimum needs $oldest with its venv module; install it, or set PYTHON=/path/to/$oldest" >&2
        exit 1
    fi
    wanted=$("$reader" "$root/tools/minimum.py")
    venv="$root/.venv-minimum"
    if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/installed" 2>/dev/null)" = "$wanted" ]; then return; fi
    echo "run.sh: installing the oldest packages into .venv-minimum (6 GB, if PyTorch comes with CUDA)" >&2
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check \
        --requirement <(echo "$wanted") --editable "$root"
    echo "$wanted" >"$venv/installed"
}

python() { "$venv/bin/python" "$@"; }

become() { exec "$venv/bin/python" "$@"; } # a signal to this script then reaches Python

v1() { # the 2019 command line: v1 SCRIPT NAME CONFIG [FLAGS]
    local script=$1
    shift
    local words=() flags=()
    while [ $# -gt 0 ] && [[ $1 != -* ]]; do
        words+=("$1")
        shift
    done
    case ${#words[@]} in # one of NAME and CONFIG is enough
    2) flags=(--model_name="${words[0]}" --config="${words[1]}") ;;
    1) case ${words[0]} in
        */* | *.*) flags=(--config="${words[0]}") ;;
        *) flags=(--model_name="${words[0]}") ;;
        esac ;;
    *)
        echo "run.sh: expected: bash run.sh ${script%.py} NAME CONFIG, e.g. STNET ./configs/stnet.yaml" >&2
        exit 2
        ;;
    esac
    if [ "$script" != inference_model.py ]; then flags+=(--log_interval="${log_interval:-1}"); fi
    if [ -n "${use_gpu:-}" ]; then flags+=(--use_gpu="$use_gpu"); fi
    case $script in
    train.py)
        flags+=(--valid_interval="${valid_interval:-1}" --save_dir="${save_dir:-./data/checkpoints}")
        flags+=(--fix_random_seed="${fix_random_seed:-False}")
        if [ -n "${resume:-}" ]; then
            flags+=(--resume="$resume")
        elif [ -n "${pretrain:-}" ]; then
            flags+=(--pretrain="$pretrain")
        fi
        ;;
    *) if [ -n "${weights:-}" ]; then flags+=(--weights="$weights"); fi ;;
    esac
    if [ "$script" = inference_model.py ]; then
        flags+=(--save_dir="${save_inference_dir:-./data/inference_model}")
    fi
    become "$root/$script" "${flags[@]}" "$@"
}

verb=${1:-help}
[ $# -eq 0 ] || shift
case $verb in
setup)
    setup
    python -c 'import torch, videozoo; print(f"videozoo {videozoo.__version__}, PyTorch {torch.__version__}")'
    ;;
demo)
    setup
    become -m videozoo demo "$@"
    ;;
test)
    cd "$root"
    paths=()
    if [ "${1:-}" = --minimum ]; then
        shift
        setup_minimum
        case ${1:-} in
        --all) shift ;;
        '') paths=(src tests/test_safe_*.py tests/data tests/encoders tests/report tests/weights) ;;
        esac
    else
        setup
    fi
    selection=(-m "not slow and not gpu")
    if [ "${1:-}" = --slow ]; then
        selection=(-m "not gpu")
        shift
    fi
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # one core per process of pytest
    become -m pytest -q -n auto --maxprocesses 8 --dist worksteal "${selection[@]}" ${paths[@]+"${paths[@]}"} "$@"
    ;;
check)
    setup
    cd "$root"
    python -m ruff format --check .
    python -m ruff check .
    python -m pyright --pythonpath "$venv/bin/python"
    "$venv/bin/lint-imports"
    ;;
parity)
    setup
    if [ $# -lt 1 ]; then
        echo "run.sh: expected: bash run.sh parity FOLDER, where FOLDER holds recorded sets" >&2
        exit 2
    fi
    folder=$(cd "$1" 2>/dev/null && pwd) || {
        echo "run.sh: $1: no such folder" >&2
        exit 1
    }
    shift
    cd "$root"
    become -m tools.parity "$folder" "$@"
    ;;
bench)
    setup
    cd "$root"
    become -m benchmarks "$@"
    ;;
train | eval | predict)
    setup
    v1 "$verb.py" "$@"
    ;;
inference)
    setup
    v1 inference_model.py "$@"
    ;;
help | -h | --help) usage ;;
*)
    echo "run.sh: unknown command '$verb'; one of: setup demo test check parity bench train eval predict inference" >&2
    exit 2
    ;;
esac
