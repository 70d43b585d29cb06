//! Properties whose seed is printed with the command that repeats them.
//!
//! Seeds in `tests/seeds.txt` (`name seed`, one a line) run first: put a seed there once it has found something.

use std::{
    env,
    fmt::Debug,
    hash::{BuildHasher, Hasher, RandomState},
};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner},
};

const KEPT: &str = include_str!("../seeds.txt");
const CASES: u32 = 256;

/// Checks a property on many values; `name` is that of the test.
pub(crate) fn property<S: Strategy<Value: Debug>>(name: &str, strategy: S, check: impl Fn(S::Value) -> TestCaseResult) {
    let kept = KEPT.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
    let seeds: Vec<u64> = match env::var("KITH_SEED") {
        Ok(seed) => vec![seed.parse().expect("KITH_SEED is a number")],
        Err(_) => kept.chain([RandomState::new().build_hasher().finish()]).collect(),
    };
    let cases = env::var("KITH_CASES").map_or(CASES, |cases| cases.parse().expect("KITH_CASES is a number"));
    for seed in seeds {
        let mut raw = [0; 32];
        raw[..8].copy_from_slice(&seed.to_be_bytes());
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &raw));
        if let Err(error) = runner.run(&strategy, &check) {
            panic!("{error}\nseed {seed}; repeat: KITH_SEED={seed} cargo nextest run -p kith-wire {name}");
        }
    }
}
