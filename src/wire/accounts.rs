//! Accounts of this system, by the numbers that the kernel proves.

/// The login name of a user; the number where nobody knows a name.
pub(super) fn login_name(uid: u32) -> String {
    uzers::get_user_by_uid(uid).map_or_else(|| format!("uid {uid}"), |user| user.name().to_string_lossy().into_owned())
}

/// The number of a group.
pub(super) fn group(name: &str) -> Option<u32> {
    uzers::get_group_by_name(name).map(|group| group.gid())
}

/// Whether a user belongs to a group.
pub(super) fn is_member(uid: u32, gid: u32) -> bool {
    uzers::get_user_by_uid(uid).is_some_and(|user| {
        user.primary_group_id() == gid || user.groups().is_some_and(|groups| groups.iter().any(|it| it.gid() == gid))
    })
}
