//! Error numbers: unique, stable, and of the class that tells an old client what to do.
#![allow(clippy::unwrap_used)]

mod support;

use kith_wire::{
    client::Refusal,
    code::{Code, Retry},
};
use support::golden;

#[test]
fn numbers_are_unique_and_rising_and_survive_the_wire() {
    assert!(Code::ALL.is_sorted_by(|a, b| a.number() < b.number()), "by rising number, none twice");
    for &code in Code::ALL {
        assert_eq!(Code::from_number(code.number()), code);
    }
    for number in 0..=u16::MAX {
        assert_eq!(Code::from_number(number).number(), number);
    }
}

/// The table of classes: 2xxx wait for a token, 3xxx and 4xxx are final, 5xxx and 6xxx are tried again, 9xxx surface.
#[test]
fn the_class_of_a_number_agrees_with_its_retry() {
    for &code in Code::ALL {
        let retry = code.retry();
        let agrees = match code.number() / 1000 {
            1 => matches!(retry, Retry::Now | Retry::Never), // what no retry mends: replaced, or not our protocol
            2 => matches!(retry, Retry::AfterAuth | Retry::Never), // revoked surfaces
            3 | 4 | 9 => retry == Retry::Never,
            5 | 6 => matches!(retry, Retry::After | Retry::Now),
            class => panic!("{code}: there is no class {class}"),
        };
        assert!(agrees, "{code} is {retry:?}");
    }
}

#[test]
fn unknown_codes_act_by_class() {
    let retry = |number| Code::from_number(number).retry();
    assert_eq!([1999, 2999, 3999, 4999, 5999, 6999, 9999].map(retry), {
        use Retry::{After, AfterAuth, Never, Now};
        [Now, AfterAuth, Never, Never, After, After, Never]
    });
}

#[test]
fn codes_keep_their_numbers_and_names() {
    let lines: Vec<_> = Code::ALL.iter().map(|code| (code.number().to_string(), format!("{} {:?}", code.name(), code.retry()))).collect();
    golden::check("codes.txt", &lines);
}

#[test]
fn refusals_are_shown_with_code_text_and_delay() {
    assert_eq!(Refusal::busy(250).to_string(), "5001 Busy: too busy, try again after the delay (retry after 250 ms)");
    assert_eq!(Refusal::from(Code::NotMember).with_text("not here").to_string(), "3001 NotMember: not here");
}
