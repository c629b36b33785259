//! What a subscriber is sent, and what its answer means.

use crate::world::*;

/// DLV-02, DLV-03, DLV-04, DLV-07, TTL-04
#[tokio::test]
async fn a_subscriber_gets_the_event_in_binary_mode_with_the_headers_of_the_data_plane() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let world = World::start(&log_in(&dir), vec![trigger("t", &subscriber.url)]).await;
    let sent =
        builder("1").attribute("datacontenttype", "text/plain").integer("knativebrokerttl", 7).data("hello");
    world.send(sent.build().unwrap()).await;
    let received = &subscriber.got(1).await[0];
    assert_eq!(received.path, "/in");
    assert_eq!(received.header("ce-id"), Some("1"));
    assert_eq!(received.header("ce-specversion"), Some("1.0"));
    assert_eq!(received.header("content-type"), Some("text/plain"));
    assert_eq!(received.headers.get_all("prefer").iter().collect::<Vec<_>>(), ["reply"]);
    assert_eq!(received.header("kn-namespace"), Some("ns"));
    assert_eq!(received.header("ce-knativebrokerttl"), None);
    assert_eq!(received.body, "hello");
    let standing = world.until("t", "delivered", |s| s.delivered == 1).await;
    assert_eq!((standing.matched, standing.attempts, standing.failures), (1, 1, 0));
    world.stop().await;
}
