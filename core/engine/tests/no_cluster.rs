//! Cluster mode's commands, which answer in Redis' words that there is none.

mod kit;

use kit::Kit;

#[test]
fn there_is_no_cluster() {
    let mut kit = Kit::default();
    let id = kit.connect();
    for line in ["CLUSTER INFO", "CLUSTER KEYSLOT a", "CLUSTER HELP", "ASKING", "READONLY", "READWRITE"] {
        assert_eq!(kit.cmd(id, line), "-ERR This instance has cluster support disabled\r\n", "{line}");
    }
    assert_eq!(kit.cmd(id, "CLUSTER foo"), "-ERR unknown subcommand 'foo'. Try CLUSTER HELP.\r\n");
    assert_eq!(kit.cmd(id, "CLUSTER KEYSLOT"), "-ERR wrong number of arguments for 'cluster|keyslot' command\r\n");
}
