//! Fork: [`Asked`] -> the stages for tasks, for many of them, or for an action that was accepted.

use super::resume::{self, Operations};
use super::{CallContext, Completed, Failed, Reply, Stage};
use crate::model::call::{Asked, OperationCall, TaskCall};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// The stage.
#[derive(Debug)]
pub struct Fork<S> {
    operations: Operations,
    tasks: S,
}

impl<S> Fork<S> {
    /// In front of the stages for tasks.
    #[must_use]
    pub fn new(operations: Operations, tasks: S) -> Self {
        Self { operations, tasks }
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
            Asked::Operation(call) => Box::pin(self.resume(context, call)).await.map(Reply::Completed),
            Asked::Batch(_) => Err(GatewayError::new(Reason::UnknownPath, "there is nothing here").into()),
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
