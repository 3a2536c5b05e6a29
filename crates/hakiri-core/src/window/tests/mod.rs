//! Every kind of cursor × mode × distance × first and later runs.

mod reading;

use super::*;

const MINUTE: i128 = 60_000_000_000;
/// 2026-01-01T00:00:00Z in nanoseconds.
const NEW_YEAR: i128 = 1_767_225_600_000_000_000;

fn tick() -> Tick {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn time(nanos: i128) -> Cursor {
    Cursor::Timestamp { nanos, utc: true }
}

fn int(value: i64) -> Cursor {
    Cursor::Integer { value }
}

fn text(value: &str) -> Cursor {
    Cursor::Text { value: value.to_owned() }
}

fn opaque(value: &str) -> Cursor {
    Cursor::Opaque { value: value.to_owned() }
}

fn of(duration: &str) -> Distance {
    Distance::Duration(duration.to_owned())
}

/// Everything that decides a window but the tick, which is new year.
struct Case<'a> {
    kind: CursorKind,
    mode: Mode,
    committed: Option<&'a Cursor>,
    lag: Option<Distance>,
    settle: Option<Distance>,
    highest: Option<&'a Cursor>,
}

impl Case<'_> {
    fn window(&self) -> Result<Window> {
        window(&WindowInput {
            kind: Some(self.kind),
            mode: self.mode,
            committed: self.committed,
            tick: tick(),
            lag: self.lag.as_ref(),
            settle: self.settle.as_ref(),
            highest: self.highest,
            utc: true,
        })
    }
}

const fn case<'a>(kind: CursorKind, mode: Mode, committed: Option<&'a Cursor>) -> Case<'a> {
    Case { kind, mode, committed, lag: None, settle: None, highest: None }
}

#[test]
fn timestamps() {
    let before = time(NEW_YEAR - 60 * MINUTE);
    let later = time(NEW_YEAR + 60 * MINUTE);
    let kind = CursorKind::Timestamp;
    for (what, case, lo, hi) in [
        ("merge, first", case(kind, Mode::Merge, None), None, 0),
        ("merge, later: five minutes again", case(kind, Mode::Merge, Some(&before)), Some(-65), 0),
        ("merge, own lag", Case { lag: Some(of("2h")), ..case(kind, Mode::Merge, Some(&before)) }, Some(-180), 0),
        ("merge, no lag", Case { lag: Some(of("0s")), ..case(kind, Mode::Merge, Some(&before)) }, Some(-60), 0),
        (
            "merge, lag on the first run has nothing below",
            Case { lag: Some(of("2h")), ..case(kind, Mode::Merge, None) },
            None,
            0,
        ),
        ("append, first: five minutes held back", case(kind, Mode::Append, None), None, -5),
        ("append, later: nothing twice", case(kind, Mode::Append, Some(&before)), Some(-60), -5),
        (
            "append, own settle",
            Case { settle: Some(of("30m")), ..case(kind, Mode::Append, Some(&before)) },
            Some(-60),
            -30,
        ),
        ("append, no settle", Case { settle: Some(of("0s")), ..case(kind, Mode::Append, Some(&before)) }, Some(-60), 0),
        (
            "append, settle longer than the distance: empty",
            Case { settle: Some(of("2h")), ..case(kind, Mode::Append, Some(&before)) },
            Some(-120),
            -120,
        ),
        ("merge, tick before the committed bound", case(kind, Mode::Merge, Some(&later)), Some(-5), 0),
        ("append, tick before the committed bound: empty", case(kind, Mode::Append, Some(&later)), Some(-5), -5),
    ] {
        let at = |minutes: i128| time(NEW_YEAR + minutes * MINUTE);
        assert_eq!(case.window().unwrap(), Window::HalfOpen { lo: lo.map(at), hi: at(hi) }, "{what}");
    }
}

#[test]
fn the_zone_of_a_timestamp_stays() {
    let zoneless = |nanos| Cursor::Timestamp { nanos, utc: false };
    let committed = zoneless(NEW_YEAR - 60 * MINUTE);
    let later = case(CursorKind::Timestamp, Mode::Merge, Some(&committed)).window().unwrap();
    assert_eq!(later, Window::HalfOpen { lo: Some(zoneless(NEW_YEAR - 65 * MINUTE)), hi: zoneless(NEW_YEAR) });
    let input = WindowInput {
        kind: Some(CursorKind::Timestamp),
        mode: Mode::Merge,
        committed: None,
        tick: tick(),
        lag: None,
        settle: None,
        highest: None,
        utc: false,
    };
    assert_eq!(window(&input).unwrap(), Window::HalfOpen { lo: None, hi: zoneless(NEW_YEAR) });
    assert_eq!(later.contains(&time(NEW_YEAR)).unwrap_err().code(), Code::CursorType);
}

#[test]
fn integers() {
    let (committed, highest) = (int(1_000), int(5_000));
    let (low, high) = (int(i64::MIN), int(i64::MAX));
    let kind = CursorKind::Integer;
    for (what, case, lo, hi) in [
        ("merge, first, no bound known", case(kind, Mode::Merge, None), None, None),
        ("merge, first", Case { highest: Some(&highest), ..case(kind, Mode::Merge, None) }, None, Some(5_000)),
        (
            "merge, later",
            Case { highest: Some(&highest), ..case(kind, Mode::Merge, Some(&committed)) },
            Some(1_000),
            Some(5_000),
        ),
        (
            "merge, lag",
            Case {
                lag: Some(Distance::Units(10)),
                highest: Some(&highest),
                ..case(kind, Mode::Merge, Some(&committed))
            },
            Some(990),
            Some(5_000),
        ),
        (
            "append, later",
            Case { highest: Some(&highest), ..case(kind, Mode::Append, Some(&committed)) },
            Some(1_000),
            Some(5_000),
        ),
        (
            "append, settle",
            Case {
                settle: Some(Distance::Units(10)),
                highest: Some(&highest),
                ..case(kind, Mode::Append, Some(&committed))
            },
            Some(1_000),
            Some(4_990),
        ),
        (
            "append, settle, no bound known",
            Case { settle: Some(Distance::Units(10)), ..case(kind, Mode::Append, Some(&committed)) },
            Some(1_000),
            None,
        ),
        (
            "the ends of the range",
            Case { lag: Some(Distance::Units(u64::MAX)), highest: Some(&high), ..case(kind, Mode::Merge, Some(&low)) },
            Some(i64::MIN),
            Some(i64::MAX),
        ),
    ] {
        assert_eq!(case.window().unwrap(), Window::Above { lo: lo.map(int), hi: hi.map(int) }, "{what}");
    }
}

#[test]
fn text_and_tokens_and_nothing() {
    let (a, token) = (text("a"), opaque("t1"));
    for mode in [Mode::Append, Mode::Merge] {
        assert_eq!(case(CursorKind::Text, mode, None).window().unwrap(), Window::Above { lo: None, hi: None });
        assert_eq!(
            case(CursorKind::Text, mode, Some(&a)).window().unwrap(),
            Window::Above { lo: Some(a.clone()), hi: None }
        );
        assert_eq!(case(CursorKind::Opaque, mode, None).window().unwrap(), Window::After { position: None });
        assert_eq!(
            case(CursorKind::Opaque, mode, Some(&token)).window().unwrap(),
            Window::After { position: Some(token.clone()) }
        );
    }
    for kind in [CursorKind::Integer, CursorKind::Timestamp, CursorKind::Text, CursorKind::Opaque] {
        assert_eq!(case(kind, Mode::Replace, None).window().unwrap(), Window::Everything, "{kind:?}");
    }
    let input = WindowInput {
        kind: None,
        mode: Mode::Replace,
        committed: Some(&a),
        tick: tick(),
        lag: None,
        settle: None,
        highest: None,
        utc: true,
    };
    assert_eq!(window(&input).unwrap(), Window::Everything);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let (number, token) = (int(1), opaque("t"));
    let (units, minutes) = (Some(Distance::Units(5)), Some(of("5m")));
    use CursorKind::{Integer, Opaque, Text, Timestamp};
    for (what, case, code) in [
        ("lag, append", Case { lag: minutes.clone(), ..case(Timestamp, Mode::Append, None) }, Code::ManifestValue),
        ("settle, merge", Case { settle: minutes.clone(), ..case(Timestamp, Mode::Merge, None) }, Code::ManifestValue),
        (
            "units on a timestamp",
            Case { lag: units.clone(), ..case(Timestamp, Mode::Merge, None) },
            Code::ManifestValue,
        ),
        (
            "units on a timestamp, append",
            Case { settle: units.clone(), ..case(Timestamp, Mode::Append, None) },
            Code::ManifestValue,
        ),
        (
            "a duration on an integer",
            Case { lag: minutes.clone(), ..case(Integer, Mode::Merge, None) },
            Code::ManifestValue,
        ),
        (
            "a duration on an integer, append",
            Case { settle: minutes.clone(), ..case(Integer, Mode::Append, None) },
            Code::ManifestValue,
        ),
        ("not a duration", Case { lag: Some(of("soon")), ..case(Timestamp, Mode::Merge, None) }, Code::ManifestValue),
        ("lag on text", Case { lag: minutes.clone(), ..case(Text, Mode::Merge, None) }, Code::ManifestValue),
        ("settle on a token", Case { settle: units.clone(), ..case(Opaque, Mode::Append, None) }, Code::ManifestValue),
        ("a number was committed", case(Timestamp, Mode::Merge, Some(&number)), Code::CursorType),
        ("a token was committed", case(Integer, Mode::Append, Some(&token)), Code::CursorType),
        ("a number was committed, tokens now", case(Opaque, Mode::Merge, Some(&number)), Code::CursorType),
    ] {
        assert_eq!(case.window().unwrap_err().code(), code, "{what}");
    }
}
