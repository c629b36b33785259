//! What is said of an event, by what is known of it.

use std::time::Duration;

use trigon_core::name::Offset;

use super::*;

fn known() -> Known<'static> {
    Known {
        matches: true,
        is_addressed: false,
        is_paused: false,
        has_sink: false,
        parked: None,
        is_parked_whole: true,
        broker: "default/shop",
        now: Timestamp(0),
    }
}

fn held(turn: Turn, stage: Stage, attempts: u32, status: u16) -> Option<Whereabouts> {
    Some(Whereabouts::Held { turn, progress: Progress { stage, attempts, status }, reason: None })
}

#[test]
fn every_step_of_the_way_has_its_state_and_its_words() {
    let waiting = Turn::Waiting(Duration::from_secs(5));
    let finished = |stage, attempt| Some(Whereabouts::Finished(Finish { stage, attempt }));
    let progress = Progress { stage: Stage::Subscriber, attempts: 2, status: 503 };
    for (at, state, words) in [
        (
            None,
            State::Elsewhere,
            "another process delivers from this partition: --admin takes the addresses of all dispatchers",
        ),
        (Some(Whereabouts::Starting), State::Starting, "where the trigger stands is being looked up"),
        (Some(Whereabouts::Unread), State::Unread, "waits in the log: the trigger has not come to it"),
        (
            Some(Whereabouts::Recovering(progress)),
            State::Recovering,
            "waits to be read again after a restart, for attempt 3 at the subscriber, which answered 503 last",
        ),
        (
            held(Turn::Blocked, Stage::Subscriber, 0, 0),
            State::Queued,
            "waits for its turn, for attempt 1 at the subscriber",
        ),
        (
            held(Turn::InFlight, Stage::Subscriber, 1, 0),
            State::InFlight,
            "in flight, in attempt 2 at the subscriber, which gave no answer last",
        ),
        (
            held(waiting, Stage::Subscriber, 2, 503),
            State::Retrying,
            "waits for attempt 3 at the subscriber, which answered 503 last, due at 1970-01-01T00:00:05Z",
        ),
        (
            held(Turn::InFlight, Stage::DeadLetter, 0, 503),
            State::InFlight,
            "in flight, in attempt 1 at the dead letter sink",
        ),
        (finished(Stage::Subscriber, 2), State::Delivered, "delivered, in attempt 2 at the subscriber"),
        (
            finished(Stage::DeadLetter, 1),
            State::DeadLettered,
            "dead-lettered, in attempt 1 at the dead letter sink",
        ),
        (finished(Stage::Park, 1), State::Parked, "parked"),
    ] {
        let view = StandingView::of(at, known());
        assert_eq!((view.state, view.words.as_str()), (state, words));
    }
}

#[test]
fn how_an_old_event_ended_is_not_guessed() {
    let view = StandingView::of(Some(Whereabouts::Passed), known());
    assert_eq!(view.state, State::Finished);
    assert!(view.words.starts_with("finished: delivered or dead-lettered, too long ago"), "{}", view.words);
    assert!(!view.words.contains("dead letter sink"), "it has none: {}", view.words);
    let view = StandingView::of(
        Some(Whereabouts::Passed),
        Known { has_sink: true, is_parked_whole: false, ..known() },
    );
    assert!(view.words.contains("delivered or dead-lettered or parked long ago"), "{}", view.words);
    assert!(view.words.contains("its subscriber and its dead letter sink can tell"), "{}", view.words);
    let view = StandingView::of(Some(Whereabouts::Passed), Known { matches: false, ..known() });
    assert_eq!(view.state, State::PassedBy);
    let view =
        StandingView::of(Some(Whereabouts::Passed), Known { matches: false, is_addressed: true, ..known() });
    assert_eq!(view.words, "passed by: it is for another trigger alone");
}

#[test]
fn what_was_parked_is_named_with_its_reason_whoever_is_asked() {
    let mut place = ParkedPlace {
        offset: Offset(17),
        reason: "answered 400 (1 attempt)".to_owned(),
        parked_at: Timestamp(0),
        is_redriven: false,
    };
    let parked = "parked as default/shop/17 at 1970-01-01T00:00:00Z: answered 400 (1 attempt)";
    let view = StandingView::of(Some(Whereabouts::Passed), Known { parked: Some(&place), ..known() });
    assert_eq!((view.state, view.words.as_str()), (State::Parked, parked));
    assert_eq!(view.parked.as_deref(), Some("default/shop/17"));
    let view = StandingView::of(None, Known { parked: Some(&place), ..known() });
    assert_eq!(view.state, State::Elsewhere);
    assert!(view.words.ends_with(&format!("; {parked}")), "{}", view.words);
    place.is_redriven = true;
    let view = StandingView::of(Some(Whereabouts::Passed), Known { parked: Some(&place), ..known() });
    assert_eq!(view.words, format!("{parked}; sent again since, as an event of its own"));
}

#[test]
fn a_pause_is_said_of_what_waits() {
    let paused = Known { is_paused: true, ..known() };
    let view = StandingView::of(Some(Whereabouts::Unread), paused);
    assert_eq!(view.words, "waits in the log: the trigger has not come to it; the trigger is paused");
    let view = StandingView::of(Some(Whereabouts::Unread), Known { matches: false, ..known() });
    assert_eq!(view.words, "the trigger has not come to it, and will pass it by");
}
