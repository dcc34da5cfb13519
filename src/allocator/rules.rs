//! Stand-in until constraints are there: no rules.
use std::sync::Arc;

use super::reason::{Host, Reason};
use super::request::TaskRequest;
use crate::types::Attributes;

pub(in crate::allocator) struct Described {
    pub(in crate::allocator) host: Arc<Host>,
    #[expect(dead_code)]
    pub(in crate::allocator) attributes: Attributes,
}
impl std::fmt::Debug for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Described")
    }
}
#[derive(Debug)]
pub struct ClusterView;
pub(in crate::allocator) struct Rules<'a>(std::marker::PhantomData<&'a ()>);
impl<'a> Rules<'a> {
    pub(in crate::allocator) fn new(_: &'a [TaskRequest], _: &'a [Described], _: Option<&'a ClusterView>) -> Self {
        Self(std::marker::PhantomData)
    }
    pub(in crate::allocator) fn check(&self, _: usize, _: usize) -> Result<(), Reason> {
        Ok(())
    }
    pub(in crate::allocator) fn check_static(&self, _: usize, _: usize) -> Result<(), Reason> {
        Ok(())
    }
    pub(in crate::allocator) fn is_static(&self, _: usize) -> bool {
        true
    }
    pub(in crate::allocator) fn may_open(&self, _: usize) -> bool {
        false
    }
    pub(in crate::allocator) fn opens_by_agent(&self, _: usize) -> bool {
        false
    }
    pub(in crate::allocator) fn is_group_full(&self, _: usize, _: usize) -> bool {
        false
    }
    pub(in crate::allocator) fn score(&self, _: usize, _: usize) -> Option<f64> {
        None
    }
    pub(in crate::allocator) fn score_group(&self, _: usize, _: usize) -> u32 {
        0
    }
    pub(in crate::allocator) fn room(&self, _: usize, _: usize) -> u32 {
        u32::MAX
    }
    pub(in crate::allocator) fn place(&mut self, _: usize, _: usize, _: u32) {}
    pub(in crate::allocator) fn remove(&mut self, _: usize, _: usize, _: u32) {}
}
