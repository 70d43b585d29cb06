#!/usr/bin/env bash
# Every fuzz target, MINUTES (or SECONDS_MAX) each, one on each core at once.
#   FUZZ=NAME         only the targets whose name this fits (a grep)         JOBS=N   so many at once
#   ENGINE=random     bolero's own engine, on the usual build: the corpus, then random inputs; the log of a finding has the input. This is the default.
#   ENGINE=libfuzzer  led by coverage, on the stable toolchain, by a build of its own of all that is fuzzed. It was never seen to run to its end.
#                     A finding lies in `crashes` beside the target's corpus, and fails `make test` until it is mended; what is learned is kept in
#                     target/fuzz/corpus for the next time.
#   KEEP=1            with libfuzzer, what was learned goes into the corpus that `make test` replays, as far as it is short and reaches code that
#                     nothing there reaches
# Ends with 1 at a finding.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
engine=${ENGINE:-random}
case $engine in random | libfuzzer) ;; *) echo "ENGINE is random or libfuzzer" >&2; exit 2 ;; esac
cargo=${CARGO:-cargo} seconds=${SECONDS_MAX:-$((${MINUTES:-10} * 60))} target=${CARGO_TARGET_DIR:-$PWD/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
kept=$PWD/tests/fuzz/tests/__fuzz__ learned=$target/fuzz/corpus logs=$target/fuzz/log
# Of an input that is kept, in bytes: what is longer than this is a shorter one's twin as a rule.
kept_bytes_max=1024

executables() { tee /dev/stderr | sed -n 's/^ *Executable tests\/.*(\(.*\))$/\1/p'; }
if [ "$engine" = random ]; then
  binaries=$("$cargo" test --locked --no-run -p kith-fuzz --tests 2>&1 | executables)
else
  # The flags that bolero's libFuzzer wants. They are new for every crate, so there is a folder of its own for them; RocksDB, which is no Rust, is taken from the
  # usual build. `--cfg fuzzing` is left out: some crates would be others than those that are shipped.
  flags="--cfg fuzzing_libfuzzer -Ccodegen-units=1 -Cpasses=sancov-module"
  for one in inline-8bit-counters level=4 pc-table trace-compares; do flags+=" -Cllvm-args=-sanitizer-coverage-$one"; done
  if [ -z "${ROCKSDB_LIB_DIR:-}" ]; then
    "$cargo" build --locked -p kith-storage
    rocks=$(find "$target/debug/build" -path '*/librocksdb-sys-*/out/librocksdb.a' -printf '%T@ %h\n' | sort -n | tail -n 1 | cut -d' ' -f2)
    if [ -n "$rocks" ]; then export ROCKSDB_LIB_DIR=$rocks ROCKSDB_STATIC=1; fi
  fi
  host=$(rustc -vV | sed -n 's/^host: //p')
  # Named as a target, so that build scripts and macros are not instrumented.
  binaries=$(RUSTFLAGS=$flags CARGO_TARGET_DIR=$target/fuzz "$cargo" test --locked --no-run --target "$host" -p kith-fuzz --tests 2>&1 | executables)
fi
[ -n "$binaries" ] || { echo "there are no fuzz targets: see above" >&2; exit 1; }

mkdir -p "$logs"
fuzz() { # BINARY NAME FLAGS…: libFuzzer, as the target of this name
  local binary=$1 name=$2
  BOLERO_TEST_NAME=$name BOLERO_LIBTEST_HARNESS=1 BOLERO_LIBFUZZER_ARGS="${*:3}" "$binary" "$name" --exact --nocapture --quiet --test-threads 1
}
draw() { # BINARY NAME LOG: bolero's own engine; the corpus is found from the package's folder
  cd tests/fuzz
  BOLERO_RANDOM_ITERATIONS=1000000000000 BOLERO_RANDOM_TEST_TIME_MS=$((seconds * 1000)) BOLERO_RANDOM_MAX_LEN=4096 \
    "$1" "$2" --exact --nocapture --test-threads 1 >"$3" 2>&1
}
one() {
  local binary=$1 name=$2 log=$logs/$2
  if [ "$engine" = random ]; then
    if ! (draw "$binary" "$name" "$log"); then
      printf '%-30s FOUND SOMETHING: %s\n' "$name" "$log"
      return 1
    fi
    printf '%-30s %12s inputs\n' "$name" "$(sed -n 's/.*rng inputs: \([0-9]*\).*/\1/p' "$log" | tail -n 1)"
    return
  fi
  mkdir -p "$learned/$name" "$kept/$name/corpus" "$kept/$name/crashes"
  local rules="-timeout=10 -rss_limit_mb=2048" known="$kept/$name/corpus $kept/$name/crashes"
  if ! fuzz "$binary" "$name" "$learned/$name" $known "-artifact_prefix=$kept/$name/crashes/" $rules "-max_total_time=$seconds" -print_final_stats=1 >"$log" 2>&1; then
    printf '%-30s FOUND SOMETHING: %s\n' "$name" "$log"
    return 1
  fi
  local runs cover
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log") cover=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  printf '%-30s %12s inputs, %6s places reached\n' "$name" "$runs" "$cover"
  if [ -n "${KEEP:-}" ]; then
    local short=$learned/.short-$name
    rm -rf "$short" && mkdir "$short"
    find "$learned/$name" -type f -size "-$((kept_bytes_max + 1))c" -exec cp -t "$short" {} +
    fuzz "$binary" "$name" -merge=1 "$kept/$name/corpus" "$short" $rules >"$log.merge" 2>&1
    rm -rf "$short"
  fi
}
export -f one fuzz draw
export engine seconds kept learned logs kept_bytes_max
for binary in $binaries; do
  case $binary in /*) ;; *) binary=$PWD/$binary ;; esac
  "$binary" --list | sed -n 's/: test$//p' | { grep -e "${FUZZ:-.}" || true; } | sed "s|^|$binary |"
done | xargs -P "${JOBS:-$(nproc)}" -L 1 bash -c 'one "$@"' _ || { echo "fuzzing found something" >&2; exit 1; }
find "$kept" -type d -name crashes -empty -delete
