//! How our newtypes look in an interface description: hexadecimal ids and names are strings, numbers are ints.

use zlink::idl;
use zlink::introspect::Type;

use crate::id::{
    Arch, ChannelName, CommitId, Digest, HostId, HostName, JobId, PackageName, ProfileName,
    ProjectName, RecipeName, Seq, Stamp, VersionId,
};

macro_rules! shown_as {
    ($shape:ident: $($name:ident)+) => {
        $( impl Type for $name { const TYPE: &'static idl::Type<'static> = &idl::Type::$shape; } )+
    };
}

shown_as!(String: Arch ChannelName CommitId Digest HostId HostName PackageName ProfileName ProjectName RecipeName Stamp);
shown_as!(Int: JobId VersionId Seq);
