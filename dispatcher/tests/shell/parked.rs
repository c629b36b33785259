//! Parked events: seen, counted, and sent again.

use trigon_core::name::{Offset, TriggerId};
use trigon_dispatcher::parked::{Direction, Redriven, Selection};

use crate::world::*;

fn of(trigger: &str) -> Selection {
    Selection { trigger: Some(TriggerId::new("ns", trigger)), ..Selection::default() }
}

async fn park(world: &World, count: usize, name: &str) {
    for n in 0..count {
        world.send(builder(&n.to_string()).attribute("myext", "kept").data("data").build().unwrap()).await;
    }
    world.until(name, "parked", |s| s.parked == count as u64).await;
}

/// DLS-03: what can be delivered nowhere is kept where it can be seen, with why.
#[tokio::test]
async fn a_parked_event_says_where_it_comes_from_and_why() {
    let (dir, subscriber) = (folder(), Subscriber::answering(400).await);
    let world = World::start(&log_in(&dir), vec![trigger("t", &subscriber.url)]).await;
    let position = world.send(event("1")).await;
    world.until("t", "parked", |s| s.parked == 1).await;
    let parked = world.dispatcher.parked().show(&world.broker(), Offset(0)).await.unwrap().unwrap();
    assert_eq!((parked.trigger.clone(), parked.original), (Some(TriggerId::new("ns", "t")), position));
    assert_eq!(parked.reason, "answered 400 (1 attempt)");
    let event = &parked.envelope.event;
    assert_eq!(event.attribute("knativeerrordest"), Some(&*subscriber.url));
    assert_eq!(event.attribute("knativeerrorcode"), Some("400"));
    assert!(parked.parked_at.0 > 0);
    assert_eq!(world.dispatcher.parked().show(&world.broker(), Offset(1)).await.unwrap(), None);
    world.stop().await;
}

#[tokio::test]
async fn a_list_is_paged_in_both_directions_and_filtered() {
    let (dir, subscriber) = (folder(), Subscriber::answering(400).await);
    let triggers = vec![trigger("a", &subscriber.url), trigger("b", &subscriber.url)];
    let world = World::start(&log_in(&dir), triggers).await;
    park(&world, 10, "a").await;
    world.until("b", "parked", |s| s.parked == 10).await;
    let (parked, broker) = (world.dispatcher.parked(), world.broker());
    for direction in [Direction::OldestFirst, Direction::NewestFirst] {
        let (mut from, mut offsets, mut pages) = (None, Vec::new(), 0);
        loop {
            let page = parked.list(&broker, &Selection::default(), direction, from, 7).await.unwrap();
            offsets.extend(page.events.iter().map(|event| event.offset.0));
            pages += 1;
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        if direction == Direction::NewestFirst {
            offsets.reverse();
        }
        assert_eq!((offsets, pages), ((0..20).collect(), 3), "{direction:?}");
    }
    let one = Selection { id: Some("3".into()), ..of("b") };
    let page = parked.list(&broker, &one, Direction::default(), None, 100).await.unwrap();
    assert_eq!((page.events.len(), page.next), (1, None));
    assert_eq!(page.events[0].envelope.event.id(), "3");
    assert_eq!(page.events[0].trigger, Some(TriggerId::new("ns", "b")));
    world.stop().await;
}

#[tokio::test]
async fn a_redrive_sends_to_its_trigger_alone_and_the_event_is_as_it_was() {
    let (dir, other) = (folder(), Subscriber::taking().await);
    let subscriber = Subscriber::scripted((0..3).map(|_| Answer::status(400))).await;
    let triggers = vec![trigger("t", &subscriber.url), trigger("other", &other.url)];
    let world = World::start(&log_in(&dir), triggers).await;
    park(&world, 3, "t").await;
    let (parked, broker) = (world.dispatcher.parked(), world.broker());
    assert_eq!(parked.counts(&broker).await.unwrap(), [(TriggerId::new("ns", "t"), 3)].into());
    let one = Selection { offset: Some(Offset(1)), ..Selection::default() };
    let done = parked.redrive(&broker, &one, None).await.unwrap();
    assert_eq!(done, Redriven { sent: 1, ..Redriven::default() });
    assert_eq!(parked.counts(&broker).await.unwrap(), [(TriggerId::new("ns", "t"), 2)].into());
    let done = parked.redrive(&broker, &of("t"), Some(1000.0)).await.unwrap();
    assert_eq!(done, Redriven { sent: 2, ..Redriven::default() });
    world.until("t", "delivered", |s| s.delivered == 3).await;
    assert!(parked.counts(&broker).await.unwrap().is_empty());
    assert!(world.parked_events().await.is_empty());
    assert_eq!(other.received().len(), 3, "the other trigger gets nothing twice");
    let again = &subscriber.received()[3..];
    assert_eq!(again.len(), 3);
    for received in again {
        assert_eq!((received.header("ce-myext"), &received.body[..]), (Some("kept"), &b"data"[..]));
        let added = received.headers.keys().find(|name| name.as_str().starts_with("ce-knativeerror"));
        assert_eq!(added, None);
    }
    let done = parked.redrive(&broker, &Selection::default(), None).await.unwrap();
    assert_eq!(done, Redriven::default(), "nothing is sent twice");
    world.stop().await;
}

#[tokio::test]
async fn an_event_whose_trigger_is_gone_stays_parked() {
    let (dir, subscriber) = (folder(), Subscriber::answering(400).await);
    let world = World::start(&log_in(&dir), vec![trigger("t", &subscriber.url)]).await;
    park(&world, 2, "t").await;
    world.route(vec![]).await;
    let done = world.dispatcher.parked().redrive(&world.broker(), &Selection::default(), None).await.unwrap();
    assert_eq!(done, Redriven { orphaned: 2, ..Redriven::default() });
    assert_eq!(world.parked_events().await.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn counts_of_parked_events_survive_a_restart() {
    let (dir, subscriber) = (folder(), Subscriber::answering(400).await);
    let log = log_in(&dir);
    let world = World::start(&log, vec![trigger("t", &subscriber.url)]).await;
    park(&world, 5, "t").await;
    let one = Selection { offset: Some(Offset(0)), ..Selection::default() };
    world.dispatcher.parked().redrive(&world.broker(), &one, None).await.unwrap();
    world.until("t", "parked again", |s| s.parked == 6).await;
    world.stop().await;
    let world = World::start(&log, vec![trigger("t", &subscriber.url)]).await;
    eventually("counted", || {
        let status = world.status();
        match status.brokers[0].waiting.get("ns/t") {
            Some(5) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(world.trigger("t").total.parked, 0, "nothing was parked since the start");
    world.stop().await;
}
