//! What belongs to a window, where the cursor stands after it, and what a series of runs reads.

use proptest::prelude::*;

use super::*;

#[test]
fn bounds_of_windows() {
    let half_open = Window::HalfOpen { lo: Some(time(10)), hi: time(20) };
    let above = Window::Above { lo: Some(int(10)), hi: Some(int(20)) };
    for (at, in_half_open, in_above) in [
        (9, false, false),
        (10, true, false),
        (11, true, true),
        (19, true, true),
        (20, false, true),
        (21, false, false),
    ] {
        assert_eq!(half_open.contains(&time(i128::from(at))).unwrap(), in_half_open, "{at}");
        assert_eq!(above.contains(&int(at)).unwrap(), in_above, "{at}");
    }
    let open = Window::HalfOpen { lo: None, hi: time(20) };
    assert!(open.contains(&time(i128::from(i64::MIN))).unwrap() && !open.contains(&time(20)).unwrap());
    let words = Window::Above { lo: Some(text("b")), hi: None };
    assert!(words.contains(&text("ba")).unwrap() && words.contains(&text("é")).unwrap());
    assert!(
        !words.contains(&text("b")).unwrap()
            && !words.contains(&text("a")).unwrap()
            && !words.contains(&text("Z")).unwrap()
    );
    assert!(
        Window::Everything.contains(&text("x")).unwrap() && Window::After { position: None }.contains(&int(1)).unwrap()
    );
    for wrong in [int(15), text("15"), opaque("15"), Cursor::Timestamp { nanos: 15, utc: false }] {
        assert_eq!(half_open.contains(&wrong).unwrap_err().code(), Code::CursorType, "{wrong:?}");
    }
}

#[test]
fn the_cursor_after_a_run() {
    let half_open = |hi| Window::HalfOpen { lo: None, hi: time(hi) };
    let above = |hi: Option<i64>| Window::Above { lo: None, hi: hi.map(int) };
    for (what, window, before, highest, after) in [
        ("a full load has none", Window::Everything, Some(int(1)), Some(int(5)), None),
        ("the bound, not the highest row", half_open(20), None, Some(time(12)), Some(time(20))),
        ("the bound, without any row", half_open(20), Some(time(10)), None, Some(time(20))),
        ("never back", half_open(20), Some(time(30)), Some(time(12)), Some(time(30))),
        ("the planned bound", above(Some(20)), Some(int(10)), Some(int(12)), Some(int(20))),
        ("the planned bound, never back", above(Some(20)), Some(int(30)), None, Some(int(30))),
        ("the highest row, where no bound was planned", above(None), Some(int(10)), Some(int(12)), Some(int(12))),
        ("the highest row, never back (lag)", above(None), Some(int(10)), Some(int(8)), Some(int(10))),
        ("no rows", above(None), Some(int(10)), None, Some(int(10))),
        ("no rows ever", above(None), None, None, None),
        (
            "a new token",
            Window::After { position: Some(opaque("a")) },
            Some(opaque("a")),
            Some(opaque("b")),
            Some(opaque("b")),
        ),
        ("no new token", Window::After { position: Some(opaque("a")) }, Some(opaque("a")), None, Some(opaque("a"))),
        ("no token ever", Window::After { position: None }, None, None, None),
    ] {
        assert_eq!(window.cursor_after(before.as_ref(), highest.as_ref()), after, "{what}");
    }
}

#[test]
fn windows_keep_their_text() {
    let window = Window::HalfOpen { lo: None, hi: time(NEW_YEAR) };
    let json = r#"{"read":"half_open","lo":null,"hi":{"kind":"timestamp","nanos":"1767225600000000000","utc":true}}"#;
    assert_eq!(serde_json::to_string(&window).unwrap(), json);
    assert_eq!(serde_json::from_str::<Window>(json).unwrap(), window);
}

proptest! {
    /// In append mode, consecutive runs at any ticks read every instant below the last bound exactly once.
    #[test]
    fn appended_windows_neither_overlap_nor_leave_a_gap(
        ticks in prop::collection::vec(0..2_000_000i64, 1..8), settle in 0..1_000u64, row in -1_000_000..2_000_000i64,
    ) {
        let settle = of(&format!("{settle}s"));
        let row = time(i128::from(row) * 1_000_000);
        let (mut committed, mut reads) = (None, 0);
        for tick in ticks {
            let window = window(&WindowInput {
                kind: Some(CursorKind::Timestamp), mode: Mode::Append, committed: committed.as_ref(), tick: Tick::from_millis(tick),
                lag: None, settle: Some(&settle), highest: None, utc: true,
            }).unwrap();
            reads += u32::from(window.contains(&row).unwrap());
            let after = window.cursor_after(committed.as_ref(), None);
            prop_assert!(committed.is_none() || after.as_ref().unwrap().compare(committed.as_ref().unwrap()) != Some(std::cmp::Ordering::Less));
            committed = after;
        }
        let below = row.compare(committed.as_ref().unwrap()) == Some(std::cmp::Ordering::Less);
        prop_assert_eq!(reads, u32::from(below));
    }

    /// In merge mode a row that shows up no later than `lag` after its own instant is read.
    #[test]
    fn merged_windows_catch_what_is_late_by_no_more_than_lag(
        steps in prop::collection::vec(1..1_000i64, 2..8), lag in 0..1_000i64, row in 0..4_000i64, late in 0..1_000i64,
    ) {
        prop_assume!(late <= lag);
        let distance = of(&format!("{lag}s"));
        let (mut committed, mut read, mut tick) = (None, false, 0);
        for step in steps {
            tick += step;
            let window = window(&WindowInput {
                kind: Some(CursorKind::Timestamp), mode: Mode::Merge, committed: committed.as_ref(), tick: Tick::from_millis(tick * 1_000),
                lag: Some(&distance), settle: None, highest: None, utc: true,
            }).unwrap();
            // The row is visible to a run from `row + late` on.
            read |= row + late <= tick && window.contains(&time(i128::from(row) * 1_000_000_000)).unwrap();
            committed = window.cursor_after(committed.as_ref(), None);
        }
        prop_assert_eq!(read, row + late <= tick && row < tick);
    }
}
