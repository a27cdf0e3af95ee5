//! What a shard should be, written as simply as it can be: each key is a list of versions, oldest first, and a stream
//! lives when something in those lists or in an open upload names it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::command::{Command, CompletedPart, Condition, NewBody, ReclaimKey};
use crate::ids::{BucketId, MultipartId, Seq, WriteId};
use crate::model::{Attributes, ETag, VersionSelector, Versioning};
use crate::multipart::multipart_etag;
use crate::query::Life;
use crate::reply::{Done, Refusal};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Inline(Bytes),
    Stream(WriteId, u64),
    Parts(MultipartId, Vec<MPart>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MPart {
    pub(crate) number: u16,
    pub(crate) write: WriteId,
    pub(crate) size: u64,
    pub(crate) md5: [u8; 16],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MVersion {
    pub(crate) seq: u64,
    pub(crate) null: bool,
    /// `None` for a delete marker.
    pub(crate) object: Option<MObject>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MObject {
    pub(crate) content: Content,
    pub(crate) etag: ETag,
    pub(crate) attributes: Attributes,
    pub(crate) user: Attributes,
    pub(crate) tags: Attributes,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct MBucket {
    pub(crate) sealed: bool,
    pub(crate) versioning: Versioning,
    pub(crate) keys: BTreeMap<Vec<u8>, Vec<MVersion>>,
    pub(crate) uploads: BTreeMap<(Vec<u8>, MultipartId), MUpload>,
}

#[derive(Clone, Debug)]
pub(crate) struct MUpload {
    pub(crate) parts: BTreeMap<u16, MPart>,
    user: Attributes,
    tags: Attributes,
    completed: Option<(ETag, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) buckets: BTreeMap<BucketId, MBucket>,
    seqs: u64,
    /// Streams that were ever committed, and those declared dead.
    pub(crate) committed: BTreeSet<WriteId>,
    pub(crate) condemned: BTreeSet<WriteId>,
    pub(crate) removed: BTreeSet<WriteId>,
}

/// What a reply must say, as far as the model knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Ok,
    Put(u64, bool),
    Deleted(Option<(u64, bool)>, bool),
    Part,
    Upload(MultipartId),
    Completed(ETag, u64),
    Condemned(Vec<WriteId>),
    Refused(Refusal),
    Invalid,
}

pub(crate) fn seen(reply: &Result<Done, Refusal>) -> Expected {
    match reply {
        Ok(Done::Put(put)) => Expected::Put(put.seq.0, put.null),
        Ok(Done::Deleted(done)) => Expected::Deleted(done.version.map(|(seq, null)| (seq.0, null)), done.marker),
        Ok(Done::PartCommitted { .. }) => Expected::Part,
        Ok(Done::UploadCreated(id)) => Expected::Upload(*id),
        Ok(Done::Completed(object)) => Expected::Completed(object.etag, object.size),
        Ok(Done::Condemned(writes)) => Expected::Condemned(writes.clone()),
        Ok(_) => Expected::Ok,
        Err(Refusal::Invalid(_)) => Expected::Invalid,
        Err(refusal) => Expected::Refused(refusal.clone()),
    }
}

impl Content {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Stream(_, size) => *size,
            Self::Parts(_, parts) => parts.iter().map(|part| part.size).sum(),
        }
    }

    fn writes(&self) -> Vec<WriteId> {
        match self {
            Self::Inline(_) => Vec::new(),
            Self::Stream(write, _) => vec![*write],
            Self::Parts(_, parts) => parts.iter().map(|part| part.write).collect(),
        }
    }
}

impl MVersion {
    fn is(&self, selector: VersionSelector) -> bool {
        match selector {
            VersionSelector::Latest => true,
            VersionSelector::Null => self.null,
            VersionSelector::Id(seq) => !self.null && self.seq == seq.0,
        }
    }
}

impl MBucket {
    pub(crate) fn latest(&self, key: &[u8]) -> Option<&MVersion> {
        self.keys.get(key)?.last()
    }

    fn position(&self, key: &[u8], selector: VersionSelector) -> Option<usize> {
        self.keys.get(key)?.iter().rposition(|version| version.is(selector))
    }

    /// Adds the newest version; without versioning enabled it replaces the null version.
    fn add(&mut self, key: &[u8], seq: u64, object: Option<MObject>) -> bool {
        let null = self.versioning != Versioning::Enabled;
        let versions = self.keys.entry(key.to_vec()).or_default();
        if null {
            versions.retain(|version| !version.null);
        }
        versions.push(MVersion { seq, null, object });
        null
    }
}

impl Default for Model {
    fn default() -> Self {
        Self {
            buckets: BTreeMap::new(),
            seqs: 1,
            committed: BTreeSet::new(),
            condemned: BTreeSet::new(),
            removed: BTreeSet::new(),
        }
    }
}

fn holds(condition: &Condition, etag: Option<&ETag>) -> Result<(), Expected> {
    let refusal = match (condition, etag) {
        (Condition::Always, _) | (Condition::Absent, None) | (Condition::Present, Some(_)) => return Ok(()),
        (Condition::ETagIn(_) | Condition::Present, None) => Refusal::NoSuchKey,
        (Condition::ETagIn(tags), Some(etag)) if tags.contains(etag) => return Ok(()),
        (Condition::ETagNotIn(_), None) => return Ok(()),
        (Condition::ETagNotIn(tags), Some(etag)) if !tags.contains(etag) => return Ok(()),
        _ => Refusal::PreconditionFailed,
    };
    Err(Expected::Refused(refusal))
}

impl Model {
    pub(crate) fn bucket(&mut self, id: BucketId) -> &mut MBucket {
        self.buckets.entry(id).or_default()
    }

    /// Streams that something names.
    pub(crate) fn live(&self) -> BTreeSet<WriteId> {
        let mut live = BTreeSet::new();
        for bucket in self.buckets.values() {
            let objects = bucket
                .keys
                .values()
                .flatten()
                .filter_map(|version| version.object.as_ref());
            live.extend(objects.flat_map(|object| object.content.writes()));
            let open = bucket.uploads.values().filter(|upload| upload.completed.is_none());
            live.extend(open.flat_map(|upload| upload.parts.values().map(|part| part.write)));
        }
        live
    }

    pub(crate) fn life(&self, write: WriteId) -> Life {
        if self.live().contains(&write) {
            Life::Referenced
        } else if self.condemned.contains(&write) || self.removed.contains(&write) {
            Life::Condemned
        } else if self.committed.contains(&write) {
            Life::Ending
        } else {
            Life::Unknown
        }
    }

    fn next_seq(&mut self) -> u64 {
        self.seqs += 1;
        self.seqs - 1
    }

    fn writable(&mut self, bucket: BucketId) -> Result<&mut MBucket, Expected> {
        let bucket = self.bucket(bucket);
        if bucket.sealed {
            Err(Expected::Refused(Refusal::NoSuchBucket))
        } else {
            Ok(bucket)
        }
    }

    fn commit(&mut self, write: WriteId) -> Result<(), Expected> {
        match self.life(write) {
            Life::Unknown => {
                self.committed.insert(write);
                Ok(())
            }
            Life::Referenced => Err(Expected::Invalid),
            Life::Ending | Life::Condemned => Err(Expected::Refused(Refusal::Condemned)),
        }
    }

    fn latest_tag(&mut self, bucket: BucketId, key: &[u8]) -> Option<ETag> {
        self.bucket(bucket)
            .latest(key)?
            .object
            .as_ref()
            .map(|object| object.etag)
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Expected {
        self.decide(command).unwrap_or_else(|refused| refused)
    }

    fn decide(&mut self, command: &Command) -> Result<Expected, Expected> {
        match command {
            Command::PutObject {
                bucket,
                key,
                condition,
                object,
            } => {
                self.writable(*bucket)?;
                holds(condition, self.latest_tag(*bucket, key).as_ref())?;
                let content = match &object.body {
                    NewBody::Inline(bytes) => Content::Inline(bytes.clone()),
                    NewBody::Stored(stored) => {
                        self.commit(stored.stream.write)?;
                        Content::Stream(stored.stream.write, stored.stream.size)
                    }
                };
                let (user, tags) = (object.user.clone(), object.tags.clone());
                Ok(self.put(
                    *bucket,
                    key,
                    MObject {
                        content,
                        etag: object.etag,
                        attributes: object.attributes.clone(),
                        user,
                        tags,
                    },
                ))
            }
            Command::DeleteObject {
                bucket,
                key,
                version,
                condition,
                ..
            } => self.delete(*bucket, key, *version, condition),
            Command::CopyObject { .. } => self.copy(command),
            Command::SetTags {
                bucket,
                key,
                version,
                tags,
            } => {
                self.writable(*bucket)?;
                self.object(*bucket, key, *version)?.tags.clone_from(tags);
                Ok(Expected::Ok)
            }
            Command::SetMetadata {
                bucket,
                key,
                attributes,
                user,
            } => {
                self.writable(*bucket)?;
                let object = self.object(*bucket, key, VersionSelector::Latest)?;
                object.attributes.clone_from(attributes);
                object.user.clone_from(user);
                Ok(Expected::Ok)
            }
            // The commands of these tests keep only headers that no object of theirs has.
            Command::PostObject {
                bucket,
                key,
                attributes,
                user,
                ..
            } => {
                self.writable(*bucket)?;
                let object = self.object(*bucket, key, VersionSelector::Latest)?;
                object.attributes.clone_from(attributes);
                object.user.clone_from(user);
                Ok(Expected::Ok)
            }
            Command::DeleteMarked {
                bucket, key, attribute, ..
            } => {
                self.writable(*bucket)?;
                let latest = self.bucket(*bucket).latest(key);
                let object = latest.and_then(|version| version.object.as_ref());
                if object.is_some_and(|object| object.attributes.contains(attribute)) {
                    return self.delete(*bucket, key, VersionSelector::Latest, &Condition::Always);
                }
                Ok(Expected::Deleted(None, false))
            }
            Command::CreateUpload {
                bucket,
                key,
                upload,
                user,
                tags,
                ..
            } => {
                let used = self
                    .buckets
                    .values()
                    .any(|bucket| bucket.uploads.keys().any(|(_, id)| id == upload));
                let place = self.writable(*bucket)?;
                if used {
                    return Err(Expected::Invalid);
                }
                let row = MUpload {
                    parts: BTreeMap::new(),
                    user: user.clone(),
                    tags: tags.clone(),
                    completed: None,
                };
                place.uploads.insert((key.clone(), *upload), row);
                Ok(Expected::Upload(*upload))
            }
            Command::CommitPart {
                bucket,
                key,
                upload,
                number,
                stored,
                md5,
                ..
            } => {
                self.writable(*bucket)?;
                self.open(*bucket, key, *upload)?;
                let write = stored.stream.write;
                self.commit(write)?;
                let part = MPart {
                    number: *number,
                    write,
                    size: stored.stream.size,
                    md5: *md5,
                };
                self.open(*bucket, key, *upload)?.parts.insert(*number, part);
                Ok(Expected::Part)
            }
            Command::CompleteUpload {
                bucket,
                key,
                upload,
                parts,
                condition,
                part_bytes_min,
                ..
            } => self.complete(*bucket, key, *upload, parts, condition, *part_bytes_min),
            Command::AbortUpload { bucket, key, upload } => {
                self.writable(*bucket)?;
                self.open(*bucket, key, *upload)?.parts.clear();
                self.bucket(*bucket).uploads.remove(&(key.clone(), *upload));
                Ok(Expected::Ok)
            }
            Command::SetVersioning { bucket, versioning } => {
                let place = self.writable(*bucket)?;
                if *versioning == Versioning::Off && place.versioning != Versioning::Off {
                    let why = "versioning was enabled and can only be suspended".to_owned();
                    return Err(Expected::Refused(Refusal::InvalidBucketState(why)));
                }
                place.versioning = *versioning;
                Ok(Expected::Ok)
            }
            Command::SealBucket { bucket } => {
                let place = self.bucket(*bucket);
                let open = place.uploads.values().any(|upload| upload.completed.is_none());
                if open || !place.keys.values().all(Vec::is_empty) {
                    return Err(Expected::Refused(Refusal::BucketNotEmpty));
                }
                place.sealed = true;
                Ok(Expected::Ok)
            }
            Command::UnsealBucket { bucket } => {
                self.bucket(*bucket).sealed = false;
                Ok(Expected::Ok)
            }
            Command::Condemn { writes } => {
                let live = self.live();
                let dead: Vec<WriteId> = writes.iter().copied().filter(|write| !live.contains(write)).collect();
                self.condemned.extend(&dead);
                Ok(Expected::Condemned(dead))
            }
            Command::Reclaimed { entries } => {
                for ReclaimKey { write, .. } in entries {
                    if self.committed.contains(write) && !self.live().contains(write) {
                        self.removed.insert(*write);
                    }
                }
                Ok(Expected::Ok)
            }
            _ => Ok(Expected::Ok),
        }
    }

    fn put(&mut self, bucket: BucketId, key: &[u8], object: MObject) -> Expected {
        let seq = self.next_seq();
        let null = self.bucket(bucket).add(key, seq, Some(object));
        Expected::Put(seq, null)
    }

    fn delete(
        &mut self,
        bucket: BucketId,
        key: &[u8],
        version: VersionSelector,
        condition: &Condition,
    ) -> Result<Expected, Expected> {
        let versioning = self.writable(bucket)?.versioning;
        if version == VersionSelector::Latest {
            holds(condition, self.latest_tag(bucket, key).as_ref())?;
            if versioning != Versioning::Off {
                let seq = self.next_seq();
                let null = self.bucket(bucket).add(key, seq, None);
                return Ok(Expected::Deleted(Some((seq, null)), true));
            }
        }
        let place = self.bucket(bucket);
        let Some(at) = place.position(key, version) else {
            let missing = Expected::Refused(Refusal::NoSuchVersion);
            holds(condition, None).map_err(|_| missing)?;
            return Ok(Expected::Deleted(None, false));
        };
        let versions = place.keys.get_mut(key).unwrap();
        holds(condition, versions[at].object.as_ref().map(|object| &object.etag))?;
        let gone = versions.remove(at);
        Ok(Expected::Deleted(Some((gone.seq, gone.null)), gone.object.is_none()))
    }

    fn copy(&mut self, command: &Command) -> Result<Expected, Expected> {
        let Command::CopyObject {
            source_bucket,
            source_key,
            source_version,
            source_condition,
            bucket,
            key,
            condition,
            changes,
            ..
        } = command
        else {
            unreachable!()
        };
        self.writable(*source_bucket)?;
        self.writable(*bucket)?;
        let mut object = self.object(*source_bucket, source_key, *source_version)?.clone();
        holds(source_condition, Some(&object.etag))?;
        holds(condition, self.latest_tag(*bucket, key).as_ref())?;
        if let Some((attributes, user)) = &changes.metadata {
            object.attributes.clone_from(attributes);
            object.user.clone_from(user);
        }
        if let Some(tags) = &changes.tags {
            object.tags.clone_from(tags);
        }
        Ok(self.put(*bucket, key, object))
    }

    fn object(&mut self, bucket: BucketId, key: &[u8], version: VersionSelector) -> Result<&mut MObject, Expected> {
        let latest = version == VersionSelector::Latest;
        let place = self.bucket(bucket);
        let none = Expected::Refused(if latest {
            Refusal::NoSuchKey
        } else {
            Refusal::NoSuchVersion
        });
        let at = place.position(key, version).ok_or(none)?;
        let found = &mut place.keys.get_mut(key).unwrap()[at];
        let deleted = Refusal::Deleted {
            marker: Seq(found.seq),
            null: found.null,
        };
        let marker = if latest { deleted } else { Refusal::IsDeleteMarker };
        found.object.as_mut().ok_or(Expected::Refused(marker))
    }

    fn open(&mut self, bucket: BucketId, key: &[u8], upload: MultipartId) -> Result<&mut MUpload, Expected> {
        let found = self.bucket(bucket).uploads.get_mut(&(key.to_vec(), upload));
        found
            .filter(|upload| upload.completed.is_none())
            .ok_or(Expected::Refused(Refusal::NoSuchUpload))
    }

    fn complete(
        &mut self,
        bucket: BucketId,
        key: &[u8],
        upload: MultipartId,
        wanted: &[CompletedPart],
        condition: &Condition,
        part_bytes_min: u64,
    ) -> Result<Expected, Expected> {
        let place = self.writable(bucket)?;
        if let Some((etag, size)) = place
            .uploads
            .get(&(key.to_vec(), upload))
            .and_then(|upload| upload.completed)
        {
            return Ok(Expected::Completed(etag, size));
        }
        let row = self.open(bucket, key, upload)?.clone();
        holds(condition, self.latest_tag(bucket, key).as_ref())?;
        if wanted.is_empty() {
            return Err(Expected::Invalid);
        }
        if !wanted.is_sorted_by(|a, b| a.number < b.number) {
            return Err(Expected::Refused(Refusal::InvalidPartOrder));
        }
        let mut parts = Vec::new();
        for (at, want) in wanted.iter().enumerate() {
            let part = row.parts.get(&want.number).filter(|part| part.md5 == want.md5);
            let part = part
                .ok_or(Expected::Refused(Refusal::InvalidPart(want.number)))?
                .clone();
            if part.size < part_bytes_min && at + 1 != wanted.len() {
                let refusal = Refusal::EntityTooSmall {
                    number: want.number,
                    size: part.size,
                };
                return Err(Expected::Refused(refusal));
            }
            parts.push(part);
        }
        let etag = multipart_etag(parts.iter().map(|part| &part.md5));
        let content = Content::Parts(upload, parts);
        let size = content.size();
        self.put(
            bucket,
            key,
            MObject {
                content,
                etag,
                attributes: Attributes::new(),
                user: row.user,
                tags: row.tags,
            },
        );
        let place = self.bucket(bucket);
        place.uploads.get_mut(&(key.to_vec(), upload)).unwrap().completed = Some((etag, size));
        Ok(Expected::Completed(etag, size))
    }
}
