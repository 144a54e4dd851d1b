//! Fork: [`Asked`] -> the stages for tasks, for many of them, or for an action that was accepted.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::{Either, TryFutureExt as _};

use super::preview::Preview;
use super::resume::{self, Operations};
use super::spread::Spread;
use super::{CallContext, Completed, Failed, Reply, Stage, Tasks};
use crate::model::call::{Asked, OperationCall};

/// The stage.
#[derive(Debug)]
pub struct Fork {
    operations: Operations,
    tasks: Tasks,
    many: Spread,
    preview: Preview,
}

impl Fork {
    /// In front of the stages for tasks, and of the one that spreads a batch over them; what is only to be shown goes no further.
    #[must_use]
    pub fn new(operations: Operations, preview: Preview, tasks: Tasks, many: Spread) -> Self {
        Self {
            operations,
            tasks,
            many,
            preview,
        }
    }
}

impl Stage<Asked> for Fork {
    type Done = Reply;
    type Failed = Box<Failed>;

    fn run<'a>(&'a self, context: &'a Arc<CallContext>, asked: Asked) -> impl Future<Output = Result<Reply, Box<Failed>>> + Send {
        // Boxed, so that the others are small.
        let rare: Pin<Box<dyn Future<Output = _> + Send + 'a>> = match asked {
            Asked::Task(call) => return Either::Left(self.tasks.run(context, call).map_ok(Reply::Completed)),
            Asked::Preview(call) => {
                let shown = self.preview.show(context, call);
                Box::pin(ready(shown.map(|spoken| Reply::Spoken(Box::new(spoken)))))
            }
            Asked::Batch(batch) => Box::pin(self.many.run(context, batch)),
            Asked::PreviewMany(batch) => Box::pin(self.many.show(context, batch, &self.preview)),
            Asked::Operation(call) => Box::pin(self.resume(context, call).map_ok(Reply::Completed)),
        };
        Either::Right(rare)
    }
}

impl Fork {
    async fn resume(&self, context: &Arc<CallContext>, call: OperationCall) -> Result<Box<Completed>, Box<Failed>> {
        let followed = self.tasks.run(context, self.operations.open(&call)?).await;
        let mut completed = followed.map_err(resume::outdated)?;
        completed.answer.operation = Some(resume::name(&call));
        Ok(completed)
    }
}
