//! Over a pipe, without a broker.

use futures::future::join_all;
use tokio::io::{DuplexStream, duplex};

use super::*;

const LONG: Duration = Duration::from_secs(10);

/// The correlation of the next request, if one comes.
async fn request(broker: &mut DuplexStream) -> Option<[u8; 4]> {
    let length = timeout(Duration::from_millis(300), broker.read_u32()).await.ok()?.expect("it is open");
    let mut frame = vec![0; usize::try_from(length).expect("it is short")];
    broker.read_exact(&mut frame).await.expect("a frame is whole");
    Some([frame[4], frame[5], frame[6], frame[7]])
}

/// To `ApiVersions` 0: no error, and no versions.
async fn answer(broker: &mut DuplexStream, correlation: [u8; 4]) {
    let frame = [&[0, 0, 0, 10][..], &correlation, &[0; 6]].concat();
    broker.write_all(&frame).await.expect("it is open");
}

#[tokio::test]
async fn no_more_than_so_many_requests_wait_for_their_answers_and_all_are_answered() {
    let (ours, mut broker) = duplex(1 << 20);
    let connection = Connection::over("pipe", Box::new(ours));
    let ask = ApiVersionsRequest::default();
    let calls = join_all((0..3 * PIPELINED).map(|_| connection.call_as(&ask, 0, LONG)));
    let serving = async {
        let mut waiting = Vec::new();
        while let Some(correlation) = request(&mut broker).await {
            waiting.push(correlation);
        }
        let pipelined = waiting.len();
        for correlation in waiting {
            answer(&mut broker, correlation).await;
        }
        for _ in pipelined..3 * PIPELINED {
            let correlation = request(&mut broker).await.expect("the others come");
            answer(&mut broker, correlation).await;
        }
        pipelined
    };
    let (answers, pipelined) = tokio::join!(calls, serving);
    assert_eq!(pipelined, PIPELINED);
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
}

#[tokio::test]
async fn what_speaks_tls_or_goes_without_a_word_is_told_as_such() {
    for (said, expected) in [
        (&b"\x15\x03\x03\0\x02\x02\x50"[..], "lost the connection to pipe: what listens there speaks TLS"),
        (
            b"",
            "lost the connection to pipe: it closed the connection, as it does when it goes and when it wants SASL or TLS first",
        ),
    ] {
        let (ours, mut broker) = duplex(1 << 10);
        let connection = Connection::over("pipe", Box::new(ours));
        let ending = async move {
            request(&mut broker).await.expect("the request comes");
            broker.write_all(said).await.expect("it is open");
        };
        let ask = ApiVersionsRequest::default();
        let (outcome, ()) = tokio::join!(connection.call_as(&ask, 0, LONG), ending);
        let error = outcome.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!connection.is_open());
    }
}
