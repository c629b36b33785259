//! The names that nearly all events have, in each of their spellings, so that no binding builds them anew.

use bytestring::ByteString;
use http::HeaderName;

/// One attribute's name.
pub(super) struct Known {
    /// As an attribute.
    pub(super) attribute: &'static str,
    /// As an HTTP header.
    pub(super) header: HeaderName,
    /// As a header of a record.
    pub(super) record: &'static str,
}

macro_rules! known {
    ($($name:literal)*) => {
        [$(Known {
            attribute: $name,
            header: HeaderName::from_static(concat!("ce-", $name)),
            record: concat!("ce_", $name),
        }),*]
    };
}

/// In the order in which events tend to name them.
static KNOWN: [Known; 13] = known! {
    "specversion" "id" "source" "type" "time" "subject" "knativebrokerttl" "dataschema" "partitionkey"
    "traceparent" "tracestate" "schemaurl" "datacontentencoding"
};

/// Looks a name up.
pub(super) fn known(attribute: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.attribute == attribute)
}

/// The name as a text that needs no memory of its own, where it is known.
pub(super) fn shared_name(attribute: &str) -> Option<ByteString> {
    match attribute {
        "datacontenttype" => Some(ByteString::from_static("datacontenttype")),
        _ => known(attribute).map(|known| ByteString::from_static(known.attribute)),
    }
}
