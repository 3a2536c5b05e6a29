//! Which files are read again, and what happens when one changes at the wrong moment.

use hakiri_core::spec::OnMissing;

use super::*;

const ALL: &str = "d/*.csv";

fn all(world: &World) -> Value {
    json!({ "path": world.name(ALL) })
}

#[tokio::test]
async fn without_a_key_new_files_add_rows_and_a_changed_one_replaces_all() {
    for world in World::everywhere() {
        world.put("d/a.csv", "id\n1\n").put("d/b.csv", "id\n2\n");
        let first = world.run(all(&world)).await.unwrap();
        assert_eq!((first.rows.as_slice(), first.replaces), (["id=1".to_owned(), "id=2".to_owned()].as_slice(), false));

        let same = world.after(all(&world), first.cursor.clone()).await.unwrap();
        assert_eq!((same.rows.len(), same.replaces, same.step.as_str()), (0, false, "t: 0 of 2 files"));
        assert_eq!(same.cursor, first.cursor);
        assert_eq!(same.progress, Progress::default());

        world.put("d/0.csv", "id\n0\n");
        let second = world.after(all(&world), same.cursor).await.unwrap();
        assert_eq!((second.rows.clone(), second.replaces), (vec!["id=0".to_owned()], false));

        // The same size and, as far as a clock can tell, the same time: only the hash knows.
        world.put("d/a.csv", "id\n9\n");
        let third = world.after(all(&world), second.cursor).await.unwrap();
        assert_eq!(
            (third.rows.clone(), third.replaces),
            (vec!["id=0".to_owned(), "id=9".to_owned(), "id=2".to_owned()], true)
        );
        let fourth = world.after(all(&world), third.cursor).await.unwrap();
        assert_eq!((fourth.rows.len(), fourth.replaces), (0, false));
    }
}

#[tokio::test]
async fn with_a_key_only_the_changed_file_is_read_unless_the_mode_is_append() {
    for mut world in World::everywhere() {
        world.key = vec!["id".into()];
        world.put("d/a.csv", "id\n1\n").put("d/b.csv", "id\n2\n");
        let first = world.run(all(&world)).await.unwrap();
        world.put("d/b.csv", "id\n3\n");
        let second = world.after(all(&world), first.cursor.clone()).await.unwrap();
        assert_eq!((second.rows, second.replaces), (vec!["id=3".to_owned()], false));
        world.spec.mode = Some(Mode::Append);
        let third = world.after(all(&world), first.cursor).await.unwrap();
        assert_eq!((third.rows.len(), third.replaces), (2, true));
    }
}

#[tokio::test]
async fn a_vanished_file_is_noted_once_and_keeps_its_rows() {
    for world in World::everywhere() {
        world.put("d/a.csv", "id\n1\n").put("d/b.csv", "id\n2\n");
        let first = world.run(all(&world)).await.unwrap();
        remove(&world.path("d/b.csv"));
        let second = world.after(all(&world), first.cursor.clone()).await.unwrap();
        assert_eq!(
            (second.rows.len(), second.notes.as_slice(), second.replaces),
            (0, [format!("`{}` is gone", world.name("d/b.csv"))].as_slice(), false)
        );
        let third = world.after(all(&world), second.cursor.clone()).await.unwrap();
        assert_eq!(third.notes.len(), 0);
        world.put("d/b.csv", "id\n2\n");
        let back = world.after(all(&world), third.cursor.clone()).await.unwrap();
        assert_eq!((back.rows.len(), back.cursor == first.cursor), (0, true));
        remove(&world.path("d/a.csv"));
        remove(&world.path("d/b.csv"));
        let emptied = world.after(all(&world), back.cursor).await.unwrap();
        assert_eq!((emptied.rows.len(), emptied.notes.len()), (0, 2));
        assert_eq!(world.run(all(&world)).await.unwrap_err().code(), Code::FileNotFound);
    }
}

#[tokio::test]
async fn on_missing_delete_replaces_without_a_key_and_never_by_an_empty_folder() {
    for mut world in World::everywhere() {
        world.spec.on_missing = OnMissing::Delete;
        world.put("d/a.csv", "id\n1\n").put("d/b.csv", "id\n2\n");
        let first = world.run(all(&world)).await.unwrap();
        remove(&world.path("d/b.csv"));
        let second = world.after(all(&world), first.cursor.clone()).await.unwrap();
        assert_eq!((second.rows.clone(), second.replaces, second.notes.len()), (vec!["id=1".to_owned()], true, 1));
        remove(&world.path("d/a.csv"));
        assert_eq!(world.after(all(&world), second.cursor).await.unwrap_err().code(), Code::FileNotFound);
        world.put("d/a.csv", "id\n1\n");
        world.key = vec!["id".into()];
        assert_eq!(world.after(all(&world), first.cursor).await.unwrap_err().code(), Code::ManifestValue);
        assert_eq!(
            world.run(all(&world)).await.unwrap_err().code(),
            Code::ManifestValue,
            "told at once, not at the second run"
        );
        assert!(world.plan(all(&world), Window::Everything).await.is_ok(), "a replacement deletes by itself");
    }
}

#[tokio::test]
async fn a_window_of_everything_forgets_what_was_read() {
    for world in World::everywhere() {
        world.put("d/a.csv", "id\n1\n");
        let (connector, step) = world.plan(all(&world), Window::Everything).await.unwrap();
        let (given, e) = world.read(&connector, step, Window::Everything).await;
        assert!(e.is_none() && given.cursor.is_some());
        assert_eq!(given.rows, ["id=1"]);
        // A cursor column instead of the list of files: everything is read, and the engine keeps the cursor.
        let window = Window::Above { lo: None, hi: None };
        let (connector, step) = world.plan(all(&world), window.clone()).await.unwrap();
        let (given, _) = world.read(&connector, step, window).await;
        assert_eq!((given.rows.len(), given.cursor, given.replaces), (1, None, false));
    }
}

#[tokio::test]
async fn a_file_that_changes_between_plan_and_read_is_an_error_that_may_pass() {
    for (file, before, after) in [
        ("a.csv", &b"id\n1\n"[..], &b"id\n2\n"[..]),
        ("a.csv", b"id\n1\n", b"id\n1\n\"half a ro"),
        ("a.jsonl", b"{}\n", b"{}\n{}\n"),
        ("a.json", b"[{}]", b"[{}"),
        ("a.parquet", &super::formats::parquet_file(3), &super::formats::parquet_file(4)),
        ("a.parquet", &super::formats::parquet_file(3), b"x"),
    ] {
        for world in World::everywhere() {
            let name = world.name(file);
            let name = name.as_str();
            world.put(file, before);
            let window = Window::After { position: None };
            let (connector, step) = world.plan(json!({ "path": name }), window.clone()).await.unwrap();
            world.put(file, after);
            let (given, e) = world.read(&connector, step.clone(), window.clone()).await;
            let e = e.unwrap();
            assert_eq!(
                (e.code(), e.kind(), e.place()),
                (Code::SourceChanged, hakiri_core::Kind::Transient, Some(name))
            );
            assert!(given.cursor.is_none());
            remove(&world.path(file));
            let (_, e) = world.read(&connector, step, window).await;
            assert_eq!(e.unwrap().code(), Code::SourceChanged);
        }
    }
}

#[tokio::test]
async fn the_plan_holds_what_is_read_and_not_what_stays() {
    for world in World::everywhere() {
        for i in 0..30 {
            world.put(&format!("d/{i:02}.csv"), format!("id\n{i}\n"));
        }
        let first = world.run(all(&world)).await.unwrap();
        world.put("d/99.csv", "id\n99\n");
        let (_, step) = world.plan(all(&world), Window::After { position: first.cursor }).await.unwrap();
        assert_eq!(step.name, "t: 1 of 31 files");
        assert_eq!(step.source["files"].as_array().unwrap().len(), 1);
        assert_eq!(step.source["files"][0]["path"], world.name("d/99.csv").as_str());
        assert!(step.source.to_string().len() < 300, "{}", step.source);
        assert!(
            !step.source.to_string().contains(world.dir.path().to_str().unwrap()),
            "no path of the machine in a plan"
        );
    }
}
