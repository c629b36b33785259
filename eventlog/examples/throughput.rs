//! Measures appends to the embedded log: `throughput FOLDER [SECONDS]`. Every append is one event of 1 KiB,
//! answered when it is synced.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use trigon_core::name::{BrokerId, Installation, TopicName};
use trigon_core::record::Record;
use trigon_core::routing::TopicSettings;
use trigon_eventlog::{EmbeddedConfig, EmbeddedLog, EventLog};

const CONCURRENCIES: [usize; 4] = [1, 16, 64, 256];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: throughput FOLDER [SECONDS]")?;
    let seconds = arguments.next().map_or(Ok(5), |seconds| seconds.parse())?;
    let log = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(dir))?);
    let topic = Installation::default().topic(&BrokerId::new("example", "throughput"));
    log.create_topic(&topic, &TopicSettings::default()).await?;
    for concurrency in CONCURRENCIES {
        let line = measure(&log, &topic, concurrency, Duration::from_secs(seconds)).await?;
        writeln!(std::io::stdout(), "{line}")?;
    }
    log.delete_topic(&topic).await?;
    log.close().await;
    Ok(())
}

async fn measure(
    log: &Arc<EmbeddedLog>,
    topic: &TopicName,
    concurrency: usize,
    duration: Duration,
) -> Result<String, Box<dyn std::error::Error>> {
    let record = Record {
        headers: ["ce_id", "ce_source", "ce_type", "ce_specversion", "content-type"]
            .map(|name| (name.into(), Bytes::from_static(b"a value of that header")))
            .into(),
        value: Some(Bytes::from(vec![b'x'; 1024])),
        ..Record::default()
    };
    let appends = Arc::new(AtomicU64::new(0));
    let (start, cpu) = (Instant::now(), cpu_time()?);
    let mut producers = JoinSet::new();
    for _ in 0..concurrency {
        let (log, topic, record, appends) = (log.clone(), topic.clone(), record.clone(), appends.clone());
        producers.spawn(async move {
            while start.elapsed() < duration {
                log.append(&topic, vec![record.clone()]).await?;
                appends.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), trigon_eventlog::AppendError>(())
        });
    }
    producers.join_all().await.into_iter().collect::<Result<(), _>>()?;
    let (elapsed, cpu) = (start.elapsed(), cpu_time()? - cpu);
    let appends = u32::try_from(appends.load(Ordering::Relaxed))?;
    let per_second = f64::from(appends) / elapsed.as_secs_f64();
    let cpu_each = cpu.as_secs_f64() * 1e6 / f64::from(appends);
    Ok(format!("{concurrency:4} at once: {per_second:9.0} appends/s, {cpu_each:6.1} µs of CPU each"))
}

/// User and system time of this process so far: fields 14 and 15 of its `stat`, in hundredths of a second.
fn cpu_time() -> Result<Duration, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().ok_or("the stat of a process has a name")?;
    let ticks: Result<Vec<u64>, _> = after_name.split_whitespace().skip(11).take(2).map(str::parse).collect();
    Ok(Duration::from_millis(ticks?.iter().sum::<u64>() * 10))
}
