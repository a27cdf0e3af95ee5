//! The Swift edge over a cluster in memory, for clients and conformance tests: `cargo run --release --example memory_swift`.
//!
//! Users are those of the file named by `USERS`, in the form that `proxy::swift::V1Auth` documents. Nothing is kept.

use std::net::SocketAddr;
use std::sync::Arc;

use clock::{SystemClock, SystemDice, WallClock};
use identity::token::StaticTokens;
use proxy::http::Server;
use proxy::swift::{SwiftEdge, SwiftOptions, V1Auth};
use store::testing::{Cluster, Shape};

#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .unwrap_or(8080);
    let users = std::env::var("USERS").map(|path| std::fs::read_to_string(path).expect("the file of users"));
    let users = users.unwrap_or_else(|_| "test tester testing .admin".to_owned());
    let mut shape = Shape::default();
    shape.options.chunk_bytes = 1 << 20;
    let cluster = Cluster::new(shape);
    let time = cluster.clock.clone();
    time.set_ms(SystemClock.now_ms());
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            time.set_ms(SystemClock.now_ms());
        }
    });
    let options = SwiftOptions {
        v1: Some(V1Auth::new(&users, None, &[7; 32]).expect("good users")),
        sweep_every: std::time::Duration::from_secs(1),
        ..SwiftOptions::default()
    };
    let (clock, dice) = (Arc::new(SystemClock), Arc::new(SystemDice));
    let edge = SwiftEdge::new(
        cluster.store.clone(),
        Arc::new(StaticTokens::default()),
        clock,
        dice,
        options,
    );
    tokio::spawn(edge.clone().sweep());
    let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], port)), None)
        .await
        .expect("the port is free");
    tracing::info!("Swift at http://{}/auth/v1.0", server.local_addr());
    server.run(edge, std::future::pending()).await;
}
