//! Fork: [`Asked`] -> the stages for tasks, for many of them, or for an action that was accepted.

use std::sync::Arc;

use super::resume::{self, Operations};
use super::spread::Spread;
use super::{CallContext, Completed, Failed, Reply, Stage};
use crate::model::call::{Asked, OperationCall, TaskCall};

/// The stage.
#[derive(Debug)]
pub struct Fork<S> {
    operations: Operations,
    tasks: Arc<S>,
    many: Spread<S>,
}

impl<S> Fork<S> {
    /// In front of the stages for tasks, and of the one that spreads a batch over them.
    #[must_use]
    pub fn new(operations: Operations, tasks: Arc<S>, many: Spread<S>) -> Self {
        Self { operations, tasks, many }
    }
}

impl<S> Stage<Asked> for Fork<S>
where
    S: Stage<TaskCall, Done = Completed, Failed = Box<Failed>>,
{
    type Done = Reply;
    type Failed = Box<Failed>;

    async fn run(&self, context: &CallContext, asked: Asked) -> Result<Reply, Box<Failed>> {
        match asked {
            Asked::Task(call) => self.tasks.run(context, call).await.map(Reply::Completed),
            // Boxed, so that the others are small.
            Asked::Batch(batch) => Box::pin(self.many.run(context, batch)).await,
            Asked::Operation(call) => Box::pin(self.resume(context, call)).await.map(Reply::Completed),
        }
    }
}

impl<S> Fork<S>
where
    S: Stage<TaskCall, Done = Completed, Failed = Box<Failed>>,
{
    async fn resume(&self, context: &CallContext, call: OperationCall) -> Result<Completed, Box<Failed>> {
        let followed = self.tasks.run(context, self.operations.open(&call)?).await;
        let mut completed = followed.map_err(resume::outdated)?;
        completed.answer.operation = Some(resume::name(&call));
        Ok(completed)
    }
}
