//! Stacks that are edited: by names, by expressions, into groups.

use super::*;

#[test]
fn editing() {
    let [parse, read, find, memcpy] = lines([1, 2, 3, 4]);
    filters(&["--strip-hashes"], &["web-7/7;main;net::serve;net::parse 40", read, find, memcpy]);
    filters(
        &["--rename", "^(web|db)-.*=$1", "--rename", "^net::=", "--comm=web"],
        &["web;main;serve;parse::h0123456789abcdef 40", "web;main;serve;serve;fs::read 2.5"],
    );
    filters(
        &["--root-at", "net::serve"],
        &["net::serve;net::parse::h0123456789abcdef 40", "net::serve;net::serve;fs::read 2.5"],
    );
    filters(
        &["--cut-below", "net::serve", "--drop", "btree"],
        &[
            "net::serve;net::parse::h0123456789abcdef 40",
            "net::serve;net::serve;fs::read 2.5",
            memcpy,
        ],
    );
    filters(
        &["--cut-above", "btree|\u{e9}"],
        &[parse, read, "db-9/9;main;btree::find 30", "db-9/9;main;\u{e9}t\u{e9} 10 12"],
    );
    filters(
        &["--collapse-recursion"],
        &[parse, "web-7/8;main;net::serve;fs::read 2.5", "db-9/9;main;btree::find 30", memcpy],
    );
    filters(
        &["--hide", "main|-", "--strip-hashes", "--root-at=.", "--cut-above=serve|find"],
        &["net::serve 40", "net::serve 2.5", "btree::find 30", "\u{e9}t\u{e9};memcpy 10 12"],
    );
}

#[test]
fn edits_ask_as_where_does() {
    let drop = "--drop-comm=db";
    filters(
        &[drop, "--root-at-where", "frame net::s* and not frame /parse/"],
        &["net::serve;net::parse::h0123456789abcdef 40", "net::serve;net::serve;fs::read 2.5"],
    );
    filters(
        &[drop, "--cut-above-where=frame net::serve"],
        &["web-7/7;main;net::serve 40", "web-7/8;main;net::serve 2.5"],
    );
    filters(&[drop, "--cut-below-where=frame fs::*"], &[lines([1])[0], "fs::read 2.5"]);
    filters(
        &[drop, "--hide-where=frame net::*", "--hide=^main$"],
        &["web-7/7 40", "web-7/8;fs::read 2.5"],
    );
    run(&["--hide-where", "comm web"], WEB).code(2).says("only frame, module and kind");
    run(&["--cut-above-where", "kind kernel"], WEB).code(1).says("kind of frame");
    let script = "app 7 1.5: 10 cycles: \n\tffffffff81000010 schedule ([kernel.kallsyms])\n\t              10 f (/a)\n\n";
    let cut =
        run(&["--cut-above-where", "kind kernel", "--root-at-where", r#"module "/a""#], script);
    assert!(!cut.success().stdout.is_empty());
}

#[test]
fn neighbours_become_a_group() {
    let [parse, read, find, memcpy] = lines([1, 2, 3, 4]);
    let net = ["web-7/7;main;NET 40", "web-7/8;main;NET;fs::read 2.5", find, memcpy];
    filters(&["--group", "NET=frame net::*"], &net);
    filters(&["--group=db-9/9=frame nowhere"], &[parse, read, find, memcpy]);
    filters(
        &["--group=other=not frame /^(main|net::serve|btree::find)$/", "--where=frame net::*"],
        &["other;main;net::serve;other 40", "other;main;net::serve;net::serve;other 2.5"],
    );
    for (flag, said) in [
        ("--group=a;b=frame x", "cannot be a frame's name"),
        ("--group==frame x", "needs a name"),
        ("--group=a", "expected NAME=EXPR"),
        ("--group=a=comm x", "only frame, module and kind"),
        ("--group=a=frame", "expected a name"),
    ] {
        run(&[flag], WEB).code(2).says(said);
    }
    run(&["--group=a=kind kernel"], WEB).code(1).says("folded stacks have no kind of frame");
}
