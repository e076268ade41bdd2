//! What is wrong with a host and its links, as rows for people.

use crate::admin::view::DoctorView;
use crate::id::{HostId, HostName};

/// Hosts that should be linked and are not, and clocks that are off. `but`: one that is told of elsewhere.
pub fn links_alarms(
    links: &super::links::Links,
    but: Option<HostId>,
) -> Vec<crate::admin::view::AlarmView> {
    let alarm =
        |kind: &str, name: &HostName, text: String, next: &str| crate::admin::view::AlarmView {
            kind: kind.into(),
            subject: Some(name.to_string()),
            text,
            next: next.into(),
            since: None,
        };
    let missing = links.missing().into_iter();
    let missing = missing.filter(|(peer, _)| Some(peer.id) != but);
    let missing = missing.map(|(peer, why)| {
        let text = format!("no link to {}: {why}", peer.name);
        let next = format!("look at that host, and at `massif peer show {}`", peer.name);
        alarm("link_down", &peer.name, text, &next)
    });
    let off = links.clocks_off().into_iter().map(|(peer, off_s)| {
        let text = format!("the clock of {} is {off_s} s off this one", peer.name);
        alarm(
            "clock_off",
            &peer.name,
            text,
            "set both by NTP; up to two days are borne",
        )
    });
    missing.chain(off).collect()
}

/// One finding as the admin interface shows it.
pub fn doctor_view(finding: crate::build::probe::Finding) -> DoctorView {
    use crate::build::probe::FindingState;
    DoctorView {
        check: finding.name,
        verdict: match finding.state {
            FindingState::Good => "ok",
            FindingState::Warning => "warning",
            FindingState::Broken => "bad",
            FindingState::Unknown => "unknown",
        }
        .into(),
        have: finding.text,
        need: String::new(),
        next: finding.cure,
    }
}
