//! The client that subscribers are called with.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use trigon_runtime::body::{BodyError, read_all, read_prefix};
use trigon_runtime::http_client::{ClientSettings, HttpClient, Trust, client};
use trigon_runtime::tasks::TaskGroup;

use crate::wire::{Wire, listener, within};

fn plain(tasks: &TaskGroup) -> HttpClient {
    let settings = ClientSettings { trust: Trust::Nobody, ..ClientSettings::default() };
    client(&settings, tasks.spawner("subscriber")).unwrap()
}

fn post(url: String) -> Request<Full<Bytes>> {
    Request::post(url).body(Full::from("data")).unwrap()
}

/// X-25, WH-02
#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let tasks = TaskGroup::new();
    let client = plain(&tasks);
    let (listener, address) = listener().await;
    let subscriber = async {
        let mut wire = Wire::from(&listener).await;
        wire.read_until("data").await;
        let location = format!("http://{address}/elsewhere");
        wire.write(&format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        ))
        .await;
        wire
    };
    let (response, _wire) = tokio::join!(client.request(post(format!("http://{address}/"))), subscriber);
    assert_eq!(response.unwrap().status(), StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let tasks = TaskGroup::new();
    let client = plain(&tasks);
    let (listener, address) = listener().await;
    let subscriber = async {
        let mut wire = Wire::from(&listener).await;
        for _ in 0..3 {
            wire.read_until("data").await;
            wire.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
        wire
    };
    let calls = async {
        for _ in 0..3 {
            let response = client.request(post(format!("http://{address}/"))).await.unwrap();
            assert_eq!(read_all(response.into_body(), 2).await.unwrap(), "ok");
        }
    };
    within("three answers", async { tokio::join!(calls, subscriber) }).await;
}

#[tokio::test]
async fn a_response_is_read_within_a_bound() {
    let tasks = TaskGroup::new();
    let client = plain(&tasks);
    let (listener, address) = listener().await;
    let subscriber = async {
        let mut wire = Wire::from(&listener).await;
        for _ in 0..2 {
            wire.read_until("data").await;
            // The body never ends: what is read of it was decided before its end.
            wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nlong\r\n4\r\nlong\r\n")
                .await;
            wire = Wire::from(&listener).await;
        }
    };
    let calls = async {
        let response = client.request(post(format!("http://{address}/"))).await.unwrap();
        let refused = read_all(response.into_body(), 7).await;
        assert!(matches!(refused, Err(BodyError::TooLarge { limit: 7 })), "{refused:?}");
        let response = client.request(post(format!("http://{address}/"))).await.unwrap();
        let prefix = read_prefix(response.into_body(), 6).await.unwrap();
        assert_eq!((&prefix.bytes[..], prefix.complete), (&b"longlo"[..], false));
    };
    within("both answers", async {
        tokio::select! {
            () = calls => {}
            () = subscriber => panic!("the subscriber was called a third time"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_that_is_not_there_is_an_error_of_connecting() {
    let tasks = TaskGroup::new();
    let client = plain(&tasks);
    let (listener, address) = listener().await;
    drop(listener);
    let error = client.request(post(format!("http://{address}/"))).await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn https_is_spoken_and_nobody_is_trusted_without_authorities() {
    let tasks = TaskGroup::new();
    let client = plain(&tasks);
    let (listener, address) = listener().await;
    let subscriber = async {
        let mut wire = Wire::from(&listener).await;
        let mut hello = [0; 3];
        tokio::io::AsyncReadExt::read_exact(&mut wire.0, &mut hello).await.unwrap();
        // A TLS record of the type handshake.
        assert_eq!(hello[..2], [0x16, 0x03]);
    };
    let url = format!("https://localhost:{}/", address.port());
    let (response, ()) = tokio::join!(client.request(post(url)), subscriber);
    assert!(response.unwrap_err().is_connect());
}
