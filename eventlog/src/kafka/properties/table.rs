//! The table itself.

use std::time::Duration;

use super::{Clients, PropertyKind, PropertyRule, PropertyValue};
use crate::REVOKE_DEADLINE;
use crate::kafka::security::{HostNames, Identity, Login, Sasl, Security, Tls};

use Clients::{Appends, Ownership};
use PropertyValue::{From, Text, Unset};

/// How long the poll loop may stand still: past it the partitions go to others.
const STANDSTILL: Duration = Duration::from_secs(30);
const _: () = assert!(STANDSTILL.as_secs() > REVOKE_DEADLINE.as_secs());

const SECURITY: &str =
    "comes with the other settings of the connection's security, for all clients at once, and is rotated";
const STORES: &str = "certificates and keys come as PEM with the settings of the connection's security";
const QUEUE: &str = "the queue of appends has bounds of its own, and answers at once when it is full";
const NO_WAIT: &str =
    "what comes while a request is under way goes together with the next, so that nothing waits";

/// Everything that is set or refused.
pub(super) static RULES: &[PropertyRule] = &[
    // Where.
    fixed(
        "bootstrap.servers",
        &["metadata.broker.list"],
        Ownership,
        From("what --kafka says", |config, _| Some(config.bootstrap.join(","))),
        "is what --kafka says, and the other connections have to begin at the same brokers",
    ),
    defaulted(
        "client.id",
        &[],
        Ownership,
        Text("trigon"),
        "names the member of the dispatchers' group in the brokers' logs and metrics; Trigon's own requests are `trigon`",
    ),
    // Appends.
    own("enable.idempotence", &[], "a repeated request must not store a record twice or out of order"),
    own("acks", &["request.required.acks"], "a 202 promises that the event is on all in-sync replicas"),
    own("retries", &["message.send.max.retries"], "an append is tried again until its deadline"),
    own("transactional.id", &[], "appends are independent of one another"),
    own("transaction.timeout.ms", &[], "appends are independent of one another"),
    own(
        "enable.gapless.guarantee",
        &[],
        "one refused record would be fatal for all others; who sent it is told instead",
    ),
    own("queuing.strategy", &[], "the records of a key keep their order"),
    own(
        "partitioner",
        &[],
        "an event with a partitionkey goes where Kafka's own clients would put it, by murmur2 (KAF-09)",
    ),
    own("delivery.report.only.error", &[], "who appends waits for the report of success"),
    own(
        "message.timeout.ms",
        &["delivery.timeout.ms"],
        "is the append deadline: an answer later than that reaches nobody",
    ),
    own("request.timeout.ms", &[], "follows from the append deadline"),
    own("queue.buffering.max.messages", &[], QUEUE),
    own("queue.buffering.max.kbytes", &[], QUEUE),
    own("queue.buffering.backpressure.threshold", &[], QUEUE),
    own(
        "message.max.bytes",
        &[],
        "follows from the largest record that is accepted; the topic's max.message.bytes has the last word",
    ),
    own("message.copy.max.bytes", &[], "nothing is handed to librdkafka that it could copy"),
    own("linger.ms", &["queue.buffering.max.ms"], NO_WAIT),
    own("sticky.partitioning.linger.ms", &[], NO_WAIT),
    own("batch.num.messages", &[], "a batch is bounded by its bytes"),
    own("max.in.flight.requests.per.connection", &["max.in.flight"], NO_WAIT),
    own("retry.backoff.ms", &[], "the waits between attempts are Trigon's: 20 to 500 ms"),
    own("retry.backoff.max.ms", &[], "the waits between attempts are Trigon's: 20 to 500 ms"),
    own("compression.level", &[], "each algorithm has its own default"),
    own(
        "topic.metadata.propagation.max.ms",
        &[],
        "the events of a topic that does not exist are refused at once",
    ),
    PropertyRule {
        name: "batch.size",
        aliases: &[],
        clients: Appends,
        kind: PropertyKind::Defaulted,
        value: Text("1000000"),
        reason: "bytes; a topic whose max.message.bytes is less makes its own batches smaller",
    },
    PropertyRule {
        name: "compression.type",
        aliases: &["compression.codec"],
        clients: Appends,
        kind: PropertyKind::Defaulted,
        value: Text("lz4"),
        reason: "events of 1 KiB of JSON cost little more CPU than uncompressed, and a fraction of the network and the \
                 disks; also none, gzip and zstd",
    },
    // Learning of changes.
    defaulted(
        "topic.metadata.refresh.interval.ms",
        &[],
        Ownership,
        Text("2000"),
        "new topics and partitions are picked up within seconds",
    ),
    defaulted(
        "metadata.max.age.ms",
        &[],
        Ownership,
        Text("900000"),
        "would follow the refresh interval: brokers that are away for seconds must not make topics unknown",
    ),
    defaulted(
        "reconnect.backoff.max.ms",
        &[],
        Ownership,
        Text("1000"),
        "a broker that is back is used within a second; librdkafka's default is 10 s",
    ),
    defaulted(
        "socket.timeout.ms",
        &[],
        Ownership,
        From("the request deadline", |config, _| Some(milliseconds(config.request_deadline))),
        "a connection that answers nothing is given up within the same time as the others",
    ),
    defaulted(
        "socket.connection.setup.timeout.ms",
        &[],
        Ownership,
        Text("5000"),
        "a broker that accepts connections and says nothing must not use up the append deadline",
    ),
    defaulted(
        "socket.keepalive.enable",
        &[],
        Ownership,
        Text("true"),
        "connections through a NAT or a balancer outlive an idle night",
    ),
    defaulted("enable.metrics.push", &[], Ownership, Text("false"), "Trigon has metrics of its own"),
    fixed(
        "allow.auto.create.topics",
        &[],
        Ownership,
        Text("false"),
        "topics are created with the Broker's settings, or not at all",
    ),
    fixed(
        "statistics.interval.ms",
        &[],
        Ownership,
        Text("0"),
        "nobody reads them, and they cost with every partition",
    ),
    fixed("enabled_events", &[], Ownership, Unset, "the events are those that Trigon handles"),
    fixed("log.queue", &[], Ownership, Unset, "librdkafka's log lines go where Trigon's go"),
    fixed("log_level", &[], Ownership, Unset, "the log filter chooses the level, target librdkafka"),
    fixed("plugin.library.paths", &[], Ownership, Unset, "Trigon runs no code that it was not built with"),
    fixed("internal.termination.signal", &[], Ownership, Unset, "signals are Trigon's"),
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
        Ownership,
        Unset,
        "a topic of a Broker would silently get neither events nor an owner",
    ),
    // Security.
    fixed(
        "security.protocol",
        &[],
        Ownership,
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
        Ownership,
        From("the authorities' certificates", |_, security| tls(security)?.ca.clone()),
        SECURITY,
    ),
    fixed(
        "ssl.ca.location",
        &[],
        Ownership,
        From("the system's authorities where none are given", |_, security| {
            tls(security)?.ca.is_none().then(|| "probe".to_owned())
        }),
        SECURITY,
    ),
    fixed(
        "ssl.certificate.pem",
        &[],
        Ownership,
        From("our certificate", |_, security| Some(identity(security)?.certificate.clone())),
        SECURITY,
    ),
    fixed(
        "ssl.key.pem",
        &[],
        Ownership,
        From("our key", |_, security| Some(identity(security)?.key.reveal().to_owned())),
        SECURITY,
    ),
    fixed(
        "ssl.endpoint.identification.algorithm",
        &[],
        Ownership,
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
        Ownership,
        Text("true"),
        "whoever answers could read every event and every password",
    ),
    fixed(
        "sasl.mechanism",
        &["sasl.mechanisms"],
        Ownership,
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
        Ownership,
        From("the user", |_, security| Some(login(security)?.user.clone())),
        SECURITY,
    ),
    fixed(
        "sasl.password",
        &[],
        Ownership,
        From("the password", |_, security| Some(login(security)?.password.reveal().to_owned())),
        SECURITY,
    ),
    fixed("ssl.certificate.location", &[], Ownership, Unset, STORES),
    fixed("ssl.key.location", &[], Ownership, Unset, STORES),
    fixed("ssl.key.password", &[], Ownership, Unset, STORES),
    fixed("ssl.keystore.location", &[], Ownership, Unset, STORES),
    fixed("ssl.keystore.password", &[], Ownership, Unset, STORES),
    fixed(
        "sasl.oauthbearer.config",
        &[],
        Ownership,
        Unset,
        "the token is read from where the connection's security says",
    ),
    fixed(
        "sasl.oauthbearer.client.secret",
        &[],
        Ownership,
        Unset,
        "the token is read from where the connection's security says",
    ),
    fixed(
        "enable.sasl.oauthbearer.unsecure.jwt",
        &[],
        Ownership,
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

/// Of our own appends, which librdkafka has no part in.
const fn own(name: &'static str, aliases: &'static [&'static str], reason: &'static str) -> PropertyRule {
    PropertyRule { name, aliases, clients: Appends, kind: PropertyKind::Fixed, value: Unset, reason }
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
