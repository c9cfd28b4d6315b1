//! What cannot be is refused with a message that says what to do.

use std::net::{TcpListener, UdpSocket};

use crate::harness::{alone, errors, testnet};

#[test]
fn usage_errors_end_with_2() {
    for line in [
        "up --epoch-length 1s",
        "up --workers 0",
        "up --base-port 65530",
        "up --epochs x",
        "up --signers 2-of-4",
        "up --signers 3-of-5",
        "up --late 1 --epochs 7",
        "fly",
    ] {
        let output = testnet(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(2), "{line}: {}", errors(&output));
    }
}

#[test]
fn a_used_port_is_named() {
    let _alone = alone();
    // The squatter sits on the first node's API, and nobody on the ports before it.
    let squatter = loop {
        let squatter = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = squatter.local_addr().unwrap().port();
        let is_free =
            |port| TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if port > 11_000 && (port - 11..port).all(is_free) {
            break squatter;
        }
    };
    let port = squatter.local_addr().unwrap().port();
    let base = (port - 11).to_string();
    let dir = tempfile::tempdir().unwrap();
    let net = dir.path().join("net");
    let output =
        testnet(&["up", "--validators", "1", "--workers", "1", "--base-port", &base, "--dir", net.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let wanted = format!("port {port} (validator-1 API) cannot be used");
    assert!(errors(&output).contains(&wanted), "{}", errors(&output));
    assert!(!net.exists(), "nothing was made");
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let output = testnet(&["up", "--dir", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("choose another --dir"), "{}", errors(&output));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_node_of_another_build_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("lucid");
    std::fs::write(&other, "#!/bin/sh\necho '{\"version\":\"0.1.0\",\"build\":\"older\"}'\n").unwrap();
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = testnet(&["up", "--lucid", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("build both together"), "{}", errors(&output));
}

#[test]
fn commands_on_a_folder_where_nothing_runs_say_so() {
    let dir = tempfile::tempdir().unwrap();
    for command in [&["status"][..], &["kill", "worker-1"], &["start", "worker-1"], &["down"]] {
        let output = testnet(&[command, &["--dir", dir.path().to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(errors(&output).contains("no testnet runs in"), "{}", errors(&output));
    }
}
