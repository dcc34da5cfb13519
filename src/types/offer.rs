//! What an offer holds, and for how long a refusal of it stands.

use std::time::Duration;

use super::{AttributeError, AttributeValue, Attributes, ResourceError, Resources};
use crate::proto::v1::{Filters, Offer};

/// A refusal that names no time stands this long.
const DEFAULT_REFUSAL: Duration = Duration::from_secs(5);

/// No refusal stands longer.
const LONGEST_REFUSAL: Duration = Duration::from_hours(365 * 24);

impl Offer {
    /// Everything in it.
    ///
    /// # Errors
    /// Resources that make no sense; a master sends none.
    pub fn resources(&self) -> Result<Resources, ResourceError> {
        Resources::from_proto(&self.resources)
    }

    /// The agent's attributes.
    ///
    /// # Errors
    /// Attributes that make no sense; a master sends none.
    pub fn attributes(&self) -> Result<Attributes, AttributeError> {
        Attributes::from_proto(&self.attributes)
    }

    /// The agent's first attribute of that name, if it has one that makes sense.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<AttributeValue> {
        let first = self.attributes.iter().find(|attribute| attribute.name == name)?;
        Attributes::from_proto(std::slice::from_ref(first)).ok()?.get(name).cloned()
    }

    /// The role that it was made to; `*` for a framework that has only one role and is not told.
    #[must_use]
    pub fn role(&self) -> &str {
        self.allocation_info.as_ref().and_then(|info| info.role.as_deref()).unwrap_or("*")
    }
}

impl Filters {
    /// Do not offer the same again for this long. Zero asks for no filter.
    #[must_use]
    pub fn refuse_for(time: Duration) -> Self {
        Self { refuse_seconds: Some(time.as_secs_f64()) }
    }
}

/// How long a refusal stands, as the master reads it: 5 s if nothing was said or the number makes no sense, a year at
/// most, and `None`, no filter at all, for zero.
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
    fn a_refusal_stands_five_seconds_unless_told_otherwise() {
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
    fn an_offer_tells_what_it_holds() {
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
