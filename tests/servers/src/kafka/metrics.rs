//! What a broker counts of itself, asked by JMX with Kafka's own tool.

use std::ffi::OsStr;

use crate::jvm;

/// The bytes of a topic's records that brokers have counted since they were started; what they replicate among
/// themselves is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicBytes {
    /// Appended by producers.
    pub written: u64,
    /// Fetched by consumers.
    pub read: u64,
}

/// What a broker is started with, so that it can be asked at `HOST:PORT`.
pub(super) fn flags(address: &str) -> Vec<String> {
    let (host, port) = address.rsplit_once(':').expect("an address has a port");
    let set = |name: &str, value: &str| format!("-Dcom.sun.management.jmxremote.{name}={value}");
    vec![
        set("host", host),
        set("port", port),
        set("rmi.port", port),
        set("authenticate", "false"),
        set("ssl", "false"),
        // Or the tool is sent to whatever the machine is called.
        format!("-Djava.rmi.server.hostname={host}"),
    ]
}

/// Asks one broker.
///
/// # Errors
/// When it does not answer.
pub(super) fn topic_bytes(address: &str, topic: &str) -> Result<TopicBytes, String> {
    let url = format!("service:jmx:rmi:///jndi/rmi://{address}/jmxrmi");
    let object = format!("kafka.server:type=BrokerTopicMetrics,name=Bytes*PerSec,topic={topic}");
    let arguments = ["--jmx-url", &url, "--object-name", &object, "--attributes", "Count", "--one-time"];
    let arguments: Vec<&OsStr> =
        arguments.into_iter().chain(["--report-format", "properties"]).map(OsStr::new).collect();
    read(&jvm::run(&["-Xmx192m"], "org.apache.kafka.tools.JmxTool", &arguments)?)
}

/// Reads what the tool prints. A metric that is not there was never counted up.
fn read(printed: &str) -> Result<TopicBytes, String> {
    let mut bytes = TopicBytes::default();
    for line in printed.lines() {
        let Some((object, count)) = line.rsplit_once(":Count=") else { continue };
        let count = count.trim().parse().map_err(|error| format!("{line:?} has no count: {error}"))?;
        match object.split([':', ',']).find_map(|part| part.strip_prefix("name=")) {
            Some("BytesInPerSec") => bytes.written = count,
            Some("BytesOutPerSec") => bytes.read = count,
            _ => {}
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_read_by_the_names_of_the_metrics() {
        let printed = "Trying to connect to JMX url: service:jmx:rmi:///jndi/rmi://127.0.0.1:1/jmxrmi
time=1795255189771
kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic=a.b.c:Count=7
kafka.server:type=BrokerTopicMetrics,name=BytesRejectedPerSec,topic=a.b.c:Count=1
kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec,topic=a.b.c:Count=12
";
        assert_eq!(read(printed), Ok(TopicBytes { written: 7, read: 12 }));
        let never = "time=1\nNo matched attributes for the queried objects [a:b=c].\n";
        assert_eq!(read(never), Ok(TopicBytes::default()));
        assert!(read("a:name=BytesInPerSec:Count=many").is_err());
    }
}
