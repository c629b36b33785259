//! Kafka's own console tools, as its users run them.

use std::ffi::OsStr;

use crate::jvm;

/// The tools, pointed at a cluster.
#[derive(Clone, Debug)]
pub struct Tools {
    bootstrap: String,
}

/// A line of `kafka-consumer-groups --describe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// What was committed, if anything was.
    pub offset: Option<u64>,
    /// The offset of the next record.
    pub end: Option<u64>,
    /// What lies between the two.
    pub lag: Option<u64>,
}

/// The tools need little memory.
const FLAGS: [&str; 2] = ["-Xmx192m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off"];

impl Tools {
    /// The tools for the cluster at `HOST:PORT[,HOST:PORT…]`, which asks for no proof of who they are.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into() }
    }

    /// Runs any tool.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, class: &str, arguments: &[&str]) -> Result<String, String> {
        let mut all = vec!["--bootstrap-server", &self.bootstrap];
        all.extend(arguments);
        let all: Vec<&OsStr> = all.into_iter().map(OsStr::new).collect();
        jvm::run(&FLAGS, class, &all)
    }

    /// `kafka-topics`
    ///
    /// # Errors
    /// When it fails.
    pub fn topics(&self, arguments: &[&str]) -> Result<String, String> {
        self.run("org.apache.kafka.tools.TopicCommand", arguments)
    }

    /// The names of all topics but Kafka's own.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn topic_names(&self) -> Result<Vec<String>, String> {
        let listed = self.topics(&["--list", "--exclude-internal"])?;
        Ok(listed.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
    }

    /// `kafka-consumer-groups`
    ///
    /// # Errors
    /// When it fails.
    pub fn groups(&self, arguments: &[&str]) -> Result<String, String> {
        self.run("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", arguments)
    }

    /// Where a group stands.
    ///
    /// # Errors
    /// When the tool fails, as it does for a group that is not there.
    pub fn describe_group(&self, group: &str) -> Result<Vec<GroupRow>, String> {
        Ok(rows(&self.groups(&["--describe", "--group", group])?))
    }

    /// Sends a group back to the beginning of a topic.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn reset_to_earliest(&self, group: &str, topic: &str) -> Result<String, String> {
        self.groups(&["--reset-offsets", "--to-earliest", "--group", group, "--topic", topic, "--execute"])
    }

    /// Deletes a group.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn delete_group(&self, group: &str) -> Result<String, String> {
        self.groups(&["--delete", "--group", group])
    }

    /// `kafka-console-consumer` from the beginning: so many records, one line each, with keys and headers.
    ///
    /// # Errors
    /// When it fails.
    pub fn console_consumer(&self, topic: &str, records: usize) -> Result<Vec<String>, String> {
        const SHOWN: [&str; 3] = ["print.headers=true", "print.key=true", "print.partition=true"];
        let records = records.to_string();
        let mut arguments = vec!["--topic", topic, "--from-beginning", "--max-messages", &records];
        arguments.extend(["--timeout-ms", "30000"]);
        arguments.extend(SHOWN.iter().flat_map(|property| ["--property", *property]));
        let read = self.run("org.apache.kafka.tools.consumer.ConsoleConsumer", &arguments)?;
        Ok(read.lines().map(str::to_owned).collect())
    }

    /// `kafka-configs`
    ///
    /// # Errors
    /// When it fails.
    pub fn configs(&self, arguments: &[&str]) -> Result<String, String> {
        self.run("kafka.admin.ConfigCommand", arguments)
    }

    /// Gives a user of SCRAM another password.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn set_password(
        &self,
        mechanism: super::Mechanism,
        user: &str,
        password: &str,
    ) -> Result<String, String> {
        let config = format!("{mechanism}=[password={password}]");
        self.configs(&["--alter", "--entity-type", "users", "--entity-name", user, "--add-config", &config])
    }

    /// `kafka-acls`
    ///
    /// # Errors
    /// When it fails.
    pub fn acls(&self, arguments: &[&str]) -> Result<String, String> {
        self.run("org.apache.kafka.tools.AclCommand", arguments)
    }
}

/// Reads the table of `--describe`.
fn rows(table: &str) -> Vec<GroupRow> {
    let mut columns: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first() == Some(&"GROUP") {
            columns = words;
            continue;
        }
        let field = |name: &str| {
            let place = columns.iter().position(|column| *column == name)?;
            words.get(place).copied()
        };
        let number = |name: &str| field(name).and_then(|text| text.parse().ok());
        let partition = field("PARTITION").and_then(|text| text.parse().ok());
        if let (Some(topic), Some(partition)) = (field("TOPIC"), partition) {
            let (offset, end, lag) = (number("CURRENT-OFFSET"), number("LOG-END-OFFSET"), number("LAG"));
            rows.push(GroupRow { topic: topic.to_owned(), partition, offset, end, lag });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_group_is_read_by_the_names_of_its_columns() {
        let table = "
GROUP            TOPIC  PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG  CONSUMER-ID  HOST  CLIENT-ID
trigon.a.b.c     t      0          5               12              7    -            -     -
trigon.a.b.c     t      1          -               3               -    -            -     -
";
        let row =
            |partition, offset, end, lag| GroupRow { topic: "t".to_owned(), partition, offset, end, lag };
        assert_eq!(rows(table), [row(0, Some(5), Some(12), Some(7)), row(1, None, Some(3), None)]);
    }
}
