//! Accessors of `Offer`, and the duration of refusal filters.

use std::time::Duration;

use super::{AttributeError, AttributeValue, Attributes, ResourceError, Resources};
use crate::proto::v1::{Filters, Offer};

/// The duration of a filter that names none.
const DEFAULT_REFUSAL: Duration = Duration::from_secs(5);

/// The longest duration of a filter.
const LONGEST_REFUSAL: Duration = Duration::from_hours(365 * 24);

impl Offer {
    /// Returns all resources of the offer.
    ///
    /// # Errors
    /// A resource is invalid; a master sends none such.
    pub fn resources(&self) -> Result<Resources, ResourceError> {
        Resources::from_proto(&self.resources)
    }

    /// Returns the agent's attributes.
    ///
    /// # Errors
    /// An attribute is invalid; a master sends none such.
    pub fn attributes(&self) -> Result<Attributes, AttributeError> {
        Attributes::from_proto(&self.attributes)
    }

    /// Returns the agent's first attribute of that name, if there is a valid one.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<AttributeValue> {
        let first = self.attributes.iter().find(|attribute| attribute.name == name)?;
        Attributes::from_proto(std::slice::from_ref(first)).ok()?.get(name).cloned()
    }

    /// Returns the role that the offer was made to; `*` for a framework without `MULTI_ROLE`.
    #[must_use]
    pub fn role(&self) -> &str {
        self.allocation_info.as_ref().and_then(|info| info.role.as_deref()).unwrap_or("*")
    }
}

impl Filters {
    /// Creates a filter that refuses the same resources for this long. Zero sets no filter.
    #[must_use]
    pub fn refuse_for(time: Duration) -> Self {
        Self { refuse_seconds: Some(time.as_secs_f64()) }
    }
}

/// Returns how long a refusal lasts, as the master reads it: 5 s if unset or invalid, at most a year. `None`, which is
/// no filter, for zero.
#[must_use]
pub fn refuse_duration(filters: Option<&Filters>) -> Option<Duration> {
    let Some(seconds) = filters.and_then(|filters| filters.refuse_seconds) else { return Some(DEFAULT_REFUSAL) };
    if seconds.is_nan() || seconds < 0.0 {
        return Some(DEFAULT_REFUSAL);
    }
    let time = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_REFUSAL).min(LONGEST_REFUSAL);
    (!time.is_zero()).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(seconds: f64) -> Option<Duration> {
        refuse_duration(Some(&Filters { refuse_seconds: Some(seconds) }))
    }

    #[test]
    fn a_refusal_lasts_five_seconds_by_default() {
        let five = Some(Duration::from_secs(5));
        assert_eq!(refuse_duration(None), five);
        assert_eq!(refuse_duration(Some(&Filters::default())), five);
        assert_eq!((refused(-1.0), refused(f64::NAN), refused(f64::NEG_INFINITY)), (five, five, five));
        assert_eq!(refused(0.5), Some(Duration::from_millis(500)));
    }

    #[test]
    fn a_refusal_of_no_time_is_none_and_one_for_ever_is_a_year() {
        assert_eq!((refused(0.0), refused(-0.0)), (None, None));
        let year = Some(Duration::from_hours(8760));
        assert_eq!((refused(31_536_001.0), refused(f64::INFINITY), refused(1e300)), (year, year, year));
        assert_eq!(refuse_duration(Some(&Filters::refuse_for(Duration::MAX))), year);
        assert_eq!(refuse_duration(Some(&Filters::refuse_for(Duration::ZERO))), None);
    }

    #[test]
    fn an_offer_lists_what_it_holds() {
        let resources: Resources = "cpus:2;mem:64".parse().unwrap();
        let attributes: Attributes = "rack:r1;rack:r2".parse().unwrap();
        let offer = Offer {
            resources: resources.to_proto_as(Some("eng"), true),
            attributes: attributes.to_proto(),
            ..Offer::default()
        };
        assert_eq!(offer.resources(), Ok(resources));
        assert_eq!(offer.attributes(), Ok(attributes));
        assert_eq!(offer.attribute("rack"), Some(AttributeValue::Text("r1".to_owned())));
        assert_eq!((offer.attribute("zone"), offer.role()), (None, "*"));
    }
}
