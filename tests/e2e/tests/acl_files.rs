//! Users in files: the configuration's, an ACL file's, those that CONFIG REWRITE keeps.

use keystead_harness::{Keystead, Reply};
use std::os::unix::fs::PermissionsExt;

fn users(client: &mut keystead_harness::Client) -> Vec<String> {
    client.cmd("ACL USERS").texts()
}

#[test]
fn users_of_the_configuration_and_of_the_overlay() {
    let builder =
        Keystead::builder().server(r#"users: ["alice on >pw ~a* +@all", "user bob on nopass +role +get ~*"]"#);
    let mut node = builder.plugin("replication", "()").start();
    let mut c = node.client();
    assert_eq!(users(&mut c), ["alice", "bob", "default"]);
    c.ok("AUTH bob x");
    // A plugin's command, in a rule that was read before clients came.
    c.ok("ROLE");
    assert!(c.cmd("SET k v").is_error());
    let mut alice = node.client();
    alice.ok("AUTH alice pw");
    alice.ok("SET a1 v");
    assert!(alice.cmd("SET b v").is_error());
    let mut admin = node.client();
    admin.ok("ACL SETUSER carol on nopass +ping");
    admin.ok("ACL DELUSER bob");
    admin.ok("CONFIG REWRITE");
    node.process.kill();
    node.restart();
    let mut c = node.client();
    assert_eq!(users(&mut c), ["alice", "carol", "default"]);
    c.ok("AUTH carol x");
    assert_eq!(c.cmd("PING"), Reply::Simple("PONG".into()));
}

#[test]
fn an_acl_file_is_read_saved_and_read_again() {
    let node =
        Keystead::builder().file("users.acl", b"user d on nopass +ping\n").server("aclfile: \"users.acl\"").start();
    let mut admin = node.client();
    assert_eq!(users(&mut admin), ["d", "default"]);
    admin.ok("ACL SETUSER e on >secret +get ~x");
    let path = node.dir().join("users.acl");
    let mode = 0o640;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
    admin.ok("ACL SAVE");
    let saved = std::fs::read_to_string(&path).expect("written");
    assert!(saved.contains("user e on sanitize-payload #") && !saved.contains("secret"), "{saved}");
    assert!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777 == mode, "as it was");
    let mut e = node.client();
    e.ok("AUTH e secret");
    // A file with a mistake changes nothing.
    std::fs::write(&path, "user f on nope\n").expect("written");
    let refused = admin.cmd("ACL LOAD");
    assert!(format!("{refused:?}").contains("users.acl:1: Syntax error"), "{refused:?}");
    assert_eq!(users(&mut admin), ["d", "default", "e"]);
    std::fs::write(&path, "user f on nopass +@all ~* &*\n").expect("written");
    admin.ok("ACL LOAD");
    assert_eq!(users(&mut admin), ["default", "f"]);
    assert!(e.is_closed_within(std::time::Duration::from_secs(10)), "its user is gone");
    // Whoever throws itself out is told so first.
    let mut f = node.client();
    f.ok("AUTH f x");
    std::fs::write(&path, "user g on nopass\n").expect("written");
    f.ok("ACL LOAD");
    assert!(f.is_closed_within(std::time::Duration::from_secs(10)), "its user is gone");
    std::fs::remove_file(&path).expect("there");
    let refused = format!("{:?}", admin.cmd("ACL LOAD"));
    assert!(refused.contains("opening file 'users.acl': No such file or directory") && !refused.contains("os error"));
}

/// A transaction says what came of the file, and what follows in it goes by the new users.
#[test]
fn a_transaction_loads_and_saves_the_file_in_its_place() {
    let node = Keystead::builder().file("users.acl", b"user d on nopass\n").server("aclfile: \"users.acl\"").start();
    let (mut admin, path) = (node.client(), node.dir().join("users.acl"));
    let mut run = |commands: &[&str]| {
        admin.ok("MULTI");
        commands.iter().for_each(|command| _ = admin.ok(command));
        admin.ok("EXEC").items()
    };
    std::fs::write(&path, "user f on nope\n").expect("written");
    let replies = run(&["ACL LOAD", "ACL USERS"]);
    assert!(format!("{:?}", replies[0]).contains("users.acl:1: Syntax error"), "{replies:?}");
    assert_eq!(replies[1].clone().texts(), ["d", "default"]);
    std::fs::write(&path, "user f on nopass\n").expect("written");
    let replies = run(&["ACL LOAD", "ACL USERS", "ACL SETUSER g", "ACL SAVE"]);
    assert_eq!(replies[1].clone().texts(), ["default", "f"]);
    assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
    assert!(std::fs::read_to_string(&path).expect("there").contains("user g off"), "saved by now");
    // A folder's place takes no file.
    std::fs::remove_file(&path).expect("there");
    std::fs::create_dir(&path).expect("made");
    let replies = run(&["ACL SAVE"]);
    assert!(format!("{:?}", replies[0]).contains("There was an error trying to save the ACLs"), "{replies:?}");
}

/// As in Redis a file with users beats the password, and where it has no default user everybody is in. That is said.
#[test]
fn a_password_that_a_file_of_users_leaves_idle_is_named() {
    let start = |users: &[u8]| {
        let server = "aclfile: \"users.acl\", requirepass: \"secret\"";
        Keystead::builder().file("users.acl", users).server(server).start()
    };
    let why = "server.requirepass is set, and nobody is asked for a password";
    let open = start(b"user d on nopass\n");
    open.client().ok("PING");
    assert!(open.process.log().contains(why), "{}", open.process.log());
    let closed = start(b"user default on >other +@all\n");
    assert!(closed.client().cmd("PING").is_error());
    assert!(!closed.process.log().contains(why), "{}", closed.process.log());
}
