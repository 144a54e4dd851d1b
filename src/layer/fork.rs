//! Fork: [`Asked`] -> the stages for tasks, for many of them, or for an action that was accepted.

use super::{CallContext, Completed, Failed, Reply, Stage};
use crate::model::call::{Asked, TaskCall};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// The stage.
#[derive(Debug)]
pub struct Fork<S> {
    tasks: S,
}

impl<S> Fork<S> {
    /// In front of the stages for tasks.
    #[must_use]
    pub fn new(tasks: S) -> Self {
        Self { tasks }
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
            Asked::Batch(_) | Asked::Operation(_) => Err(GatewayError::new(Reason::UnknownPath, "there is nothing here").into()),
        }
    }
}
