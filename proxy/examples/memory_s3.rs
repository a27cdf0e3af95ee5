//! The S3 edge over an in-memory cluster, for trying clients against it. Nothing is kept.
//!
//! ```text
//! memory_s3 [PORT]      prints one line of JSON: endpoint and keys
//! ```

use std::sync::Arc;

use clock::{SystemClock, SystemDice, WallClock};
use identity::StaticKeys;
use proxy::http::Server;
use proxy::s3::{S3Edge, S3Options};
use store::testing::{Cluster, Shape};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let cluster = Cluster::new(Shape::default());
    let wall = cluster.clock.clone();
    tokio::spawn(async move {
        loop {
            wall.set_ms(SystemClock.now_ms());
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
    let keys = StaticKeys::default()
        .with("main", "main-secret", "main")
        .with("alt", "alt-secret", "alt")
        .with("tenanted", "tenanted-secret", "tenanted");
    let options = S3Options {
        domains: vec!["localhost".into()],
        ..S3Options::default()
    };
    let edge = S3Edge::new(
        cluster.store.clone(),
        Arc::new(keys),
        Arc::new(SystemClock),
        Arc::new(SystemDice),
        options,
    );
    let server = Server::bind(([127, 0, 0, 1], port).into(), None).await?;
    #[allow(clippy::print_stdout, reason = "the address is this program's output")]
    {
        println!(
            "{{\"endpoint\":\"http://{}\",\"access_key\":\"main\",\"secret_key\":\"main-secret\"}}",
            server.local_addr()
        );
    }
    server.run(edge, async { drop(tokio::signal::ctrl_c().await) }).await;
    Ok(())
}
