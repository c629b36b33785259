//! The table itself.

use std::time::Duration;

use super::{Clients, PropertyKind, PropertyRule, PropertyValue};
use crate::REVOKE_DEADLINE;
use crate::kafka::security::{HostNames, Identity, Login, Sasl, Security, Tls};

use Clients::{Both, Ownership, Producer};
use PropertyValue::{From, Text, Unset};

/// What a record may be larger on the wire than `max_record_bytes` counts, at most: the lengths and
/// numbers of its fields, for 10 000 headers.
const FRAMING: usize = 256 << 10;

/// The largest that librdkafka takes for `message.max.bytes`.
const LARGEST_MESSAGE: usize = 1_000_000_000;

/// How often librdkafka looks for records past their deadline.
const EXPIRY_SCAN: Duration = Duration::from_secs(1);

/// How long the poll loop may stand still: past it the partitions go to others.
const STANDSTILL: Duration = Duration::from_secs(30);
const _: () = assert!(STANDSTILL.as_secs() > REVOKE_DEADLINE.as_secs());

const SECURITY: &str =
    "comes with the other settings of the connection's security, for all clients at once, and is rotated";
const STORES: &str = "certificates and keys come as PEM with the settings of the connection's security";
const QUEUE: &str = "the queue of appends is bounded before librdkafka's: it answers at once when it is full, also \
                     while a client is replaced";

/// Everything that is set or refused.
pub(super) static RULES: &[PropertyRule] = &[
    // Where.
    fixed(
        "bootstrap.servers",
        &["metadata.broker.list"],
        Both,
        From("what --kafka says", |config, _| Some(config.bootstrap.join(","))),
        "is what --kafka says, and the other connections have to begin at the same brokers",
    ),
    defaulted(
        "client.id",
        &[],
        Both,
        Text("trigon"),
        "names Trigon in the brokers' logs, metrics and quotas",
    ),
    // Durability and order.
    fixed(
        "enable.idempotence",
        &[],
        Producer,
        Text("true"),
        "a repeated request must not store a record twice or out of order",
    ),
    fixed(
        "acks",
        &["request.required.acks"],
        Producer,
        Text("all"),
        "a 202 promises that the event is on all in-sync replicas",
    ),
    fixed(
        "retries",
        &["message.send.max.retries"],
        Producer,
        Unset,
        "an append is tried again until its deadline",
    ),
    fixed("transactional.id", &[], Producer, Unset, "appends are independent of one another"),
    fixed("transaction.timeout.ms", &[], Producer, Unset, "appends are independent of one another"),
    fixed(
        "enable.gapless.guarantee",
        &[],
        Producer,
        Unset,
        "one refused record would be fatal for all others; who sent it is told instead",
    ),
    fixed("queuing.strategy", &[], Producer, Unset, "the records of an append keep their order"),
    fixed(
        "partitioner",
        &[],
        Producer,
        Text("murmur2_random"),
        "an event with a partitionkey goes where Kafka's own clients would put it (KAF-09)",
    ),
    fixed(
        "delivery.report.only.error",
        &[],
        Producer,
        Text("false"),
        "who appends waits for the report of success",
    ),
    // Deadlines and bounds of appends.
    fixed(
        "message.timeout.ms",
        &["delivery.timeout.ms"],
        Producer,
        From("the append deadline, less a second", |config, _| {
            let deadline = config.append_deadline;
            Some(milliseconds(deadline.saturating_sub(EXPIRY_SCAN).max(deadline / 2)))
        }),
        "is the append deadline: an answer later than that reaches nobody",
    ),
    fixed("queue.buffering.max.messages", &[], Producer, Text("0"), QUEUE),
    fixed("queue.buffering.max.kbytes", &[], Producer, Text("2147483647"), QUEUE),
    fixed(
        "message.max.bytes",
        &[],
        Producer,
        From("the largest record and its framing", |config, _| {
            let bytes = config.max_record_bytes.saturating_add(FRAMING).min(LARGEST_MESSAGE);
            Some(bytes.to_string())
        }),
        "follows from the largest record that is accepted; the topic's max.message.bytes has the last word",
    ),
    fixed(
        "topic.metadata.propagation.max.ms",
        &[],
        Producer,
        Text("0"),
        "librdkafka would hold back the events of a topic that does not exist for 30 s; they are refused at once",
    ),
    // Cost of appends.
    defaulted(
        "linger.ms",
        &["queue.buffering.max.ms"],
        Producer,
        Text("1"),
        "every answer waits for it, and without any an append takes twice the CPU at 5 000 events/s",
    ),
    defaulted(
        "compression.type",
        &["compression.codec"],
        Producer,
        Text("lz4"),
        "events of 1 KiB of JSON cost no more CPU than uncompressed, and a fraction of the network and the disks",
    ),
    // Learning of changes.
    defaulted(
        "topic.metadata.refresh.interval.ms",
        &[],
        Both,
        Text("2000"),
        "new topics and partitions are picked up within seconds",
    ),
    defaulted(
        "metadata.max.age.ms",
        &[],
        Both,
        Text("900000"),
        "would follow the refresh interval: brokers that are away for seconds must not make topics unknown",
    ),
    defaulted(
        "reconnect.backoff.max.ms",
        &[],
        Both,
        Text("1000"),
        "a broker that is back is used within a second; librdkafka's default is 10 s",
    ),
    defaulted(
        "socket.timeout.ms",
        &[],
        Both,
        From("the request deadline", |config, _| Some(milliseconds(config.request_deadline))),
        "a connection that answers nothing is given up within the same time as the others",
    ),
    defaulted(
        "socket.connection.setup.timeout.ms",
        &[],
        Both,
        Text("5000"),
        "a broker that accepts connections and says nothing must not use up the append deadline",
    ),
    defaulted(
        "socket.keepalive.enable",
        &[],
        Both,
        Text("true"),
        "connections through a NAT or a balancer outlive an idle night",
    ),
    defaulted("enable.metrics.push", &[], Both, Text("false"), "Trigon has metrics of its own"),
    fixed(
        "allow.auto.create.topics",
        &[],
        Both,
        Text("false"),
        "topics are created with the Broker's settings, or not at all",
    ),
    fixed(
        "statistics.interval.ms",
        &[],
        Both,
        Text("0"),
        "nobody reads them, and they cost with every partition",
    ),
    fixed("enabled_events", &[], Both, Unset, "the events are those that Trigon handles"),
    fixed("log.queue", &[], Both, Unset, "librdkafka's log lines go where Trigon's go"),
    fixed("log_level", &[], Both, Unset, "the log filter chooses the level, target librdkafka"),
    fixed("plugin.library.paths", &[], Both, Unset, "Trigon runs no code that it was not built with"),
    fixed("internal.termination.signal", &[], Both, Unset, "signals are Trigon's"),
    // Ownership.
    fixed(
        "group.id",
        &[],
        Ownership,
        From("the installation's name", |config, _| Some(config.installation.dispatchers().to_string())),
        "is the installation's name: all its dispatchers share the partitions in one group",
    ),
    fixed(
        "group.instance.id",
        &[],
        Ownership,
        Unset,
        "a dispatcher that stops cleanly would keep its partitions for the session timeout",
    ),
    fixed(
        "group.protocol",
        &[],
        Ownership,
        Text("classic"),
        "the new protocol's shortest session is 45 s, and so would a take-over be",
    ),
    fixed("group.protocol.type", &[], Ownership, Unset, "dispatchers are consumers to Kafka's tools"),
    fixed("group.remote.assignor", &[], Ownership, Unset, "belongs to the new group protocol"),
    fixed(
        "partition.assignment.strategy",
        &[],
        Ownership,
        Text("cooperative-sticky"),
        "partitions that stay must not stop while others move, and all members must agree",
    ),
    fixed(
        "session.timeout.ms",
        &[],
        Ownership,
        From("the session timeout", |config, _| Some(milliseconds(config.session_timeout))),
        "is the session timeout, which also bounds the take-over after a crash",
    ),
    defaulted(
        "heartbeat.interval.ms",
        &[],
        Ownership,
        Text("300"),
        "a rebalance reaches every member within a third of a second, and a partition given back its new owner",
    ),
    fixed(
        "max.poll.interval.ms",
        &[],
        Ownership,
        From("30000", |_, _| Some(milliseconds(STANDSTILL))),
        "a revoked partition has 10 s to drain; a process that stands still longer than this loses its partitions",
    ),
    fixed(
        "enable.auto.commit",
        &["auto.commit.enable"],
        Ownership,
        Text("false"),
        "progress is each Trigger's, in a group of its own",
    ),
    fixed(
        "enable.auto.offset.store",
        &[],
        Ownership,
        Text("false"),
        "progress is each Trigger's, in a group of its own",
    ),
    fixed(
        "auto.offset.reset",
        &[],
        Ownership,
        Text("latest"),
        "the client that tells what is ours reads nothing",
    ),
    fixed(
        "enable.partition.eof",
        &[],
        Ownership,
        Text("false"),
        "the client that tells what is ours reads nothing",
    ),
    fixed(
        "queued.min.messages",
        &[],
        Ownership,
        Text("1"),
        "the client that tells what is ours reads nothing",
    ),
    fixed(
        "queued.max.messages.kbytes",
        &[],
        Ownership,
        Text("1"),
        "the client that tells what is ours reads nothing",
    ),
    fixed(
        "topic.blacklist",
        &[],
        Both,
        Unset,
        "a topic of a Broker would silently get neither events nor an owner",
    ),
    // Security.
    fixed(
        "security.protocol",
        &[],
        Both,
        From("from the connection's security", |_, security| {
            let protocol = match (&security.tls, &security.sasl) {
                (None, None) => "plaintext",
                (Some(_), None) => "ssl",
                (None, Some(_)) => "sasl_plaintext",
                (Some(_), Some(_)) => "sasl_ssl",
            };
            Some(protocol.to_owned())
        }),
        SECURITY,
    ),
    fixed(
        "ssl.ca.pem",
        &[],
        Both,
        From("the authorities' certificates", |_, security| tls(security)?.ca.clone()),
        SECURITY,
    ),
    fixed(
        "ssl.ca.location",
        &[],
        Both,
        From("the system's authorities where none are given", |_, security| {
            tls(security)?.ca.is_none().then(|| "probe".to_owned())
        }),
        SECURITY,
    ),
    fixed(
        "ssl.certificate.pem",
        &[],
        Both,
        From("our certificate", |_, security| Some(identity(security)?.certificate.clone())),
        SECURITY,
    ),
    fixed(
        "ssl.key.pem",
        &[],
        Both,
        From("our key", |_, security| Some(identity(security)?.key.reveal().to_owned())),
        SECURITY,
    ),
    fixed(
        "ssl.endpoint.identification.algorithm",
        &[],
        Both,
        From("https, or none where host names are not checked", |_, security| {
            let algorithm = match tls(security)?.host_names {
                HostNames::Checked => "https",
                HostNames::Unchecked => "none",
            };
            Some(algorithm.to_owned())
        }),
        SECURITY,
    ),
    fixed(
        "enable.ssl.certificate.verification",
        &[],
        Both,
        Text("true"),
        "whoever answers could read every event and every password",
    ),
    fixed(
        "sasl.mechanism",
        &["sasl.mechanisms"],
        Both,
        From("from the connection's security", |_, security| {
            let mechanism = match security.sasl.as_ref()? {
                Sasl::Plain(_) => "PLAIN",
                Sasl::ScramSha256(_) => "SCRAM-SHA-256",
                Sasl::ScramSha512(_) => "SCRAM-SHA-512",
                Sasl::OauthBearer(_) => "OAUTHBEARER",
            };
            Some(mechanism.to_owned())
        }),
        SECURITY,
    ),
    fixed(
        "sasl.username",
        &[],
        Both,
        From("the user", |_, security| Some(login(security)?.user.clone())),
        SECURITY,
    ),
    fixed(
        "sasl.password",
        &[],
        Both,
        From("the password", |_, security| Some(login(security)?.password.reveal().to_owned())),
        SECURITY,
    ),
    fixed("ssl.certificate.location", &[], Both, Unset, STORES),
    fixed("ssl.key.location", &[], Both, Unset, STORES),
    fixed("ssl.key.password", &[], Both, Unset, STORES),
    fixed("ssl.keystore.location", &[], Both, Unset, STORES),
    fixed("ssl.keystore.password", &[], Both, Unset, STORES),
    fixed(
        "sasl.oauthbearer.config",
        &[],
        Both,
        Unset,
        "the token is read from where the connection's security says",
    ),
    fixed(
        "sasl.oauthbearer.client.secret",
        &[],
        Both,
        Unset,
        "the token is read from where the connection's security says",
    ),
    fixed(
        "enable.sasl.oauthbearer.unsecure.jwt",
        &[],
        Both,
        Unset,
        "a token that nobody signed is no identity",
    ),
];

const fn fixed(
    name: &'static str,
    aliases: &'static [&'static str],
    clients: Clients,
    value: PropertyValue,
    reason: &'static str,
) -> PropertyRule {
    PropertyRule { name, aliases, clients, kind: PropertyKind::Fixed, value, reason }
}

const fn defaulted(
    name: &'static str,
    aliases: &'static [&'static str],
    clients: Clients,
    value: PropertyValue,
    reason: &'static str,
) -> PropertyRule {
    PropertyRule { name, aliases, clients, kind: PropertyKind::Defaulted, value, reason }
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}

fn tls(security: &Security) -> Option<&Tls> {
    security.tls.as_ref()
}

fn identity(security: &Security) -> Option<&Identity> {
    tls(security)?.identity.as_ref()
}

fn login(security: &Security) -> Option<&Login> {
    match security.sasl.as_ref()? {
        Sasl::Plain(login) | Sasl::ScramSha256(login) | Sasl::ScramSha512(login) => Some(login),
        Sasl::OauthBearer(_) => None,
    }
}
