//! The body of an answer, which keeps its connection from being taken for silent.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};

use super::ActiveRequest;
use crate::tasks::BoxError;

/// A body of the service or of the server itself. Dropped when it is written, and the request ends with it.
#[derive(Debug)]
pub(super) struct AnswerBody<B> {
    inner: Either<B, Full<Bytes>>,
    _request: ActiveRequest,
}

impl<B> AnswerBody<B> {
    pub(super) fn of_service(body: B, request: ActiveRequest) -> Self {
        Self { inner: Either::Left(body), _request: request }
    }

    pub(super) fn own(body: Full<Bytes>, request: ActiveRequest) -> Self {
        Self { inner: Either::Right(body), _request: request }
    }
}

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
