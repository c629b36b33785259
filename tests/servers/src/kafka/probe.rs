//! What a broker says of its cluster, asked in Kafka's own protocol.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

/// A broker that takes longer does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The version of the request; any broker since 2.4 has it.
const VERSION: i16 = 9;

/// A larger answer is none: the tests' clusters are small.
const MAX_ANSWER: usize = 16 << 20;

/// Asks for the brokers and all topics.
///
/// # Errors
/// When there is no answer that can be read.
pub(super) fn metadata(address: &str) -> Result<MetadataResponse, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{address}: {what}: {error}");
    let socket: SocketAddr = address.parse().map_err(|error| failed("no address", &error))?;
    let io = |error: std::io::Error| failed("no answer", &error);
    let mut stream = TcpStream::connect_timeout(&socket, PATIENCE).map_err(io)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(io)?;

    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Metadata as i16)
        .with_request_api_version(VERSION)
        .with_client_id(Some(StrBytes::from_static_str("trigon-tests")));
    let request = MetadataRequest::default().with_topics(None);
    let mut body = BytesMut::new();
    let encoded = header
        .encode(&mut body, ApiKey::Metadata.request_header_version(VERSION))
        .and_then(|()| request.encode(&mut body, VERSION));
    encoded.map_err(|error| failed("could not ask", &error))?;
    let mut frame = BytesMut::new();
    frame.put_u32(u32::try_from(body.len()).map_err(|error| failed("could not ask", &error))?);
    frame.put(body);
    stream.write_all(&frame).map_err(io)?;

    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(io)?;
    let length = usize::try_from(length.as_slice().get_u32()).unwrap_or(usize::MAX);
    if length > MAX_ANSWER {
        return Err(failed("no answer", &"it is not Kafka"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).map_err(io)?;
    let mut answer = bytes::Bytes::from(answer);
    let decoded = ResponseHeader::decode(&mut answer, ApiKey::Metadata.response_header_version(VERSION))
        .and_then(|_| MetadataResponse::decode(&mut answer, VERSION));
    decoded.map_err(|error| failed("could not read the answer", &error))
}
