//! What the local TRON network counted of a client's requests.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use lucid_tron_types::abi::selector;
use serde_json::Value;

/// Requests of a client so far, or in a while.
pub(crate) struct Counted {
    now: u64,
    blocks: u64,
    busiest: u64,
    calls: BTreeMap<String, u64>,
}

impl Counted {
    pub(crate) fn read(host: &str, client: &str) -> Self {
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET /admin/requests HTTP/1.0\r\nhost: {host}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let number = |name: &str| answer[name].as_u64().unwrap();
        let client = &answer["clients"][client];
        let calls = serde_json::from_value(client["calls"].clone()).unwrap();
        Self {
            now: number("now"),
            blocks: number("blocks"),
            busiest: client["busiest_second"].as_u64().unwrap(),
            calls,
        }
    }

    pub(crate) fn since(mut self, before: &Self) -> Self {
        for (call, n) in &mut self.calls {
            *n -= before.calls.get(call).copied().unwrap_or(0);
        }
        self.calls.retain(|_, n| *n > 0);
        Self { now: self.now - before.now, blocks: self.blocks - before.blocks, ..self }
    }

    /// Broadcasts and estimates come with what is sent; the bound is for all others, with blocks as TRON's public networks make
    /// them.
    pub(crate) fn print(&self, when: &str, is_fast: bool) {
        let functions = [
            "postRoot(uint64,bytes32,uint64,uint64,(address,uint64),bytes)",
            "payRange(uint64,uint256,(bytes32,address,uint64)[],bytes32[])",
        ];
        let estimates =
            functions.map(|name| format!("/wallet/triggerconstantcontract {}", hex::encode(selector(name))));
        let of = |is: &dyn Fn(&String) -> bool| -> u64 {
            self.calls.iter().filter(|(call, _)| is(call)).map(|(_, n)| *n).sum()
        };
        let broadcasts = of(&|call| call == "/wallet/broadcasthex");
        let estimated = of(&|call| estimates.contains(call));
        let others = of(&|_| true) - broadcasts - estimated;
        let bound = 2 * self.now.div_ceil(1_000) + self.blocks;
        let verdict = match (is_fast, others <= bound) {
            (true, _) => String::new(),
            (false, true) => format!(" (wanted: at most {bound}, 2 a second and one a block)"),
            (false, false) => format!(" (wanted: at most {bound}, 2 a second and one a block)   MISSED"),
        };
        println!("requests to the provider {when}, {:.1} s and {} blocks:", lossy(self.now) / 1_000.0, self.blocks);
        println!("  broadcasts {broadcasts}, estimates {estimated}, most in a second {}", self.busiest);
        println!("  others {others}{verdict}");
        for (call, n) in &self.calls {
            println!("    {n:>4} {call}");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
const fn lossy(n: u64) -> f64 {
    n as f64
}
