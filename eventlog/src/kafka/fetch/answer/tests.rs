use kafka_protocol::messages::fetch_response::FetchableTopicResponse;

use super::*;

fn wanted() -> Wanted {
    let source = Source { topic: Uuid::from_u128(1), partition: PartitionId(2) };
    Wanted { source, epoch: LeaderEpoch(7), from: Offset(40) }
}

#[test]
fn a_leader_is_asked_in_its_epoch() {
    let limits = Limits { wait_ms: 0, bytes: 1, partition_bytes: 1 };
    let request = request(&[wanted()], limits);
    assert_eq!(request.topics[0].partitions[0].current_leader_epoch, 7);
}

#[test]
fn an_error_of_the_whole_answer_is_no_throttling() {
    let code = ResponseError::KafkaStorageError.code();
    let response = FetchResponse::default().with_error_code(code).with_throttle_time_ms(5);
    assert_eq!(answers(&[wanted()], response), Err(ResponseError::KafkaStorageError));
}

#[test]
fn a_partition_is_left_out_without_an_error_only_by_throttling() {
    let throttled = FetchResponse::default().with_throttle_time_ms(5);
    assert_eq!(answers(&[wanted()], throttled), Ok(HashMap::new()));
    let left_out = HashMap::from([(wanted().source, Err(ResponseError::UnknownServerError))]);
    assert_eq!(answers(&[wanted()], FetchResponse::default()), Ok(left_out));
}

#[test]
fn a_leader_that_is_none_any_more_is_told_for_its_partition() {
    let code = ResponseError::FencedLeaderEpoch.code();
    let partition = PartitionData::default().with_partition_index(2).with_error_code(code);
    let topic =
        FetchableTopicResponse::default().with_topic_id(Uuid::from_u128(1)).with_partitions(vec![partition]);
    let response = FetchResponse::default().with_responses(vec![topic]);
    let fenced = HashMap::from([(wanted().source, Err(ResponseError::FencedLeaderEpoch))]);
    assert_eq!(answers(&[wanted()], response), Ok(fenced));
}
