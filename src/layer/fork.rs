//! Fork: [`Asked`] -> the stages for tasks, for many of them, or for an action that was accepted.

use super::preview::Preview;
use super::{CallContext, Completed, Failed, Reply, Stage};
use crate::model::call::{Asked, TaskCall};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// The stage.
#[derive(Debug)]
pub struct Fork<S> {
    tasks: S,
    preview: Preview,
}

impl<S> Fork<S> {
    /// In front of the stages for tasks; what is only to be shown goes no further.
    #[must_use]
    pub fn new(preview: Preview, tasks: S) -> Self {
        Self { tasks, preview }
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
            Asked::Preview(call) => self.preview.show(context, call).map(|spoken| Reply::Spoken(Box::new(spoken))),
            Asked::Batch(_) | Asked::PreviewMany(_) | Asked::Operation(_) => {
                Err(GatewayError::new(Reason::UnknownPath, "there is nothing here").into())
            }
        }
    }
}
