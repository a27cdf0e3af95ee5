//! What a cluster has from the beginning: the default domain, roles, an administrator, projects, the catalog.
//!
//! Done by whoever starts the cluster, as often as they like: what is there stays as it is, what is missing is made.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::directory::Owner;
use crate::error::IdentityError;
use crate::http::set_first_password;
use crate::model::{Document, Mark};
use crate::names;
use crate::rights::{Actor, Assignment, Place};
use crate::row::{
    ACCESS_KEYS, ASSIGNMENTS, DEFAULT_DOMAIN, DOMAINS, ENDPOINTS, IMPLIED_ROLES, PROJECTS, REGIONS, ROLES, SEEDS,
    SERVICES, USERS,
};
use crate::service::Identity;
use crate::token::{ROLE_ADMIN, ROLE_MANAGER, ROLE_MEMBER, ROLE_READER, ROLE_RESELLER, ROLE_SERVICE};

/// Roles, and what each implies.
const ROLES_AT_FIRST: &[(&str, &[&str])] = &[
    (ROLE_READER, &[]),
    (ROLE_MEMBER, &[ROLE_READER]),
    (ROLE_MANAGER, &[ROLE_MEMBER]),
    (ROLE_ADMIN, &[ROLE_MANAGER]),
    (ROLE_SERVICE, &[]),
    (ROLE_RESELLER, &[]),
];

/// What to begin with.
#[derive(Clone, Serialize, Deserialize)]
pub struct Seed {
    /// The administrator's name.
    pub admin: String,
    /// The administrator's password; only used when there is no such user.
    pub password: String,
    /// The project of the administrator and of the first S3 key.
    pub project: String,
    /// An S3 key that shall be the administrator's.
    #[serde(default)]
    pub access_key: Option<String>,
    /// Its secret.
    #[serde(default)]
    pub secret_key: Option<String>,
    /// The region of the endpoints.
    pub region: String,
    /// What the catalog says.
    #[serde(default)]
    pub catalog: Vec<CatalogEntry>,
}

/// A service of the catalog, and where it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CatalogEntry {
    /// `identity`, `object-store`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name, `keystone` say.
    pub name: String,
    /// Its URL; `$(project_id)s` stands for the token's project.
    pub url: String,
}

impl Identity {
    /// Makes what is missing of `seed`.
    ///
    /// # Errors
    /// When the cluster does not answer; may be repeated.
    pub async fn bootstrap(&self, seed: &Seed) -> Result<(), IdentityError> {
        // The same seed again is nothing to do: a cluster is started more often than it is made.
        let text = serde_json::to_vec(seed).expect("a seed of texts has a JSON form");
        let sown = blake3::keyed_hash(blake3::hash(SEEDS.as_bytes()).as_bytes(), &text)
            .to_hex()
            .to_string();
        if self.records.get::<Mark>(SEEDS, &sown).await?.is_some() {
            return Ok(());
        }
        self.seed_domain_and_project(seed).await?;
        self.seed_roles().await?;
        let admin = self.seed_admin(seed).await?;
        for (place, role) in [
            (Place::System, ROLE_ADMIN),
            (Place::Project(seed.project.clone()), ROLE_ADMIN),
            (Place::Domain(DEFAULT_DOMAIN.to_owned()), ROLE_ADMIN),
        ] {
            self.seed_assignment(&admin, place, role).await?;
        }
        self.seed_key(seed, &admin).await?;
        self.seed_catalog(seed).await?;
        self.records.put(SEEDS, &sown, &Mark {}).await
    }

    async fn seed_domain_and_project(&self, seed: &Seed) -> Result<(), IdentityError> {
        let domain = json!({ "name": "Default", "description": "", "enabled": true, "tags": [], "options": {} });
        names::take(&self.records, DOMAINS, "", "Default", DEFAULT_DOMAIN).await?;
        present(self.records.insert(DOMAINS, DEFAULT_DOMAIN, &domain).await)?;
        match self
            .directory()
            .create_project(&seed.project, Some(seed.project.clone()))
            .await
        {
            Ok(_) | Err(IdentityError::Taken) => {}
            Err(other) => return Err(other),
        }
        // A project of a release before users has no name of its own yet.
        let row = self.records.get::<Document>(PROJECTS, &seed.project).await?;
        if let Some(name) = row.and_then(|(_, row)| row.get("name").and_then(Value::as_str).map(str::to_owned)) {
            match names::take(&self.records, PROJECTS, DEFAULT_DOMAIN, &name, &seed.project).await {
                Ok(()) | Err(IdentityError::Taken) => {}
                Err(other) => return Err(other),
            }
        }
        let services = match names::find(&self.records, PROJECTS, DEFAULT_DOMAIN, "service").await? {
            Some(_) => Ok(()),
            None => self.directory().create_project("service", None).await.map(drop),
        };
        present(services)
    }

    async fn seed_roles(&self) -> Result<(), IdentityError> {
        for (name, implied) in ROLES_AT_FIRST {
            let id = self.seed_role(name).await?;
            for other in *implied {
                let other = self.seed_role(other).await?;
                self.records
                    .put(IMPLIED_ROLES, &format!("{id}/{other}"), &Mark {})
                    .await?;
            }
        }
        Ok(())
    }

    async fn seed_role(&self, name: &str) -> Result<String, IdentityError> {
        if let Some(id) = names::find(&self.records, ROLES, "", name).await?
            && self.records.get::<Document>(ROLES, &id).await?.is_some()
        {
            return Ok(id);
        }
        // An id that follows from the name: two who begin at once make one role.
        let id = id_of("role", name);
        let row = json!({ "name": name, "domain_id": null, "description": null, "options": {} });
        names::take(&self.records, ROLES, "", name, &id).await?;
        present(self.records.insert(ROLES, &id, &row).await)?;
        Ok(id)
    }

    async fn seed_admin(&self, seed: &Seed) -> Result<String, IdentityError> {
        if let Some(id) = names::find(&self.records, USERS, DEFAULT_DOMAIN, &seed.admin).await?
            && self.records.get::<Document>(USERS, &id).await?.is_some()
        {
            return Ok(id);
        }
        let id = id_of("user", &seed.admin);
        let mut row = Document::new();
        for (name, value) in [
            ("name", json!(seed.admin)),
            ("domain_id", json!(DEFAULT_DOMAIN)),
            ("default_project_id", json!(seed.project)),
            ("enabled", json!(true)),
            ("options", json!({})),
        ] {
            row.insert(name.into(), value);
        }
        set_first_password(self, &mut row, &seed.password).await?;
        names::take(&self.records, USERS, DEFAULT_DOMAIN, &seed.admin, &id).await?;
        present(self.records.insert(USERS, &id, &row).await)?;
        Ok(id)
    }

    async fn seed_assignment(&self, user: &str, place: Place, role: &str) -> Result<(), IdentityError> {
        let assignment = Assignment {
            actor: Actor::User(user.to_owned()),
            place,
            role: self.seed_role(role).await?,
            inherited: false,
        };
        self.records.put(ASSIGNMENTS, &assignment.key(), &Mark {}).await
    }

    /// The first S3 key becomes the administrator's: one key for both, as `openstack ec2 credentials list` shows it.
    async fn seed_key(&self, seed: &Seed, admin: &str) -> Result<(), IdentityError> {
        let (Some(access), Some(secret)) = (&seed.access_key, &seed.secret_key) else {
            return Ok(());
        };
        let owner = Owner {
            user: Some(admin.to_owned()),
            trust: None,
        };
        let made = self
            .directory()
            .import_key_of(&seed.project, "made by halo up", owner, access, secret)
            .await;
        if !matches!(made, Err(IdentityError::Taken)) {
            return made;
        }
        match self.records.get::<Document>(ACCESS_KEYS, access).await? {
            Some((version, mut row)) if row.get("user").is_none_or(Value::is_null) => {
                row.insert("user".into(), json!(admin));
                present(self.records.replace(ACCESS_KEYS, access, version, &row).await)
            }
            _ => Ok(()),
        }
    }

    async fn seed_catalog(&self, seed: &Seed) -> Result<(), IdentityError> {
        let region = json!({ "description": "", "parent_region_id": null });
        present(self.records.insert(REGIONS, &seed.region, &region).await)?;
        for entry in &seed.catalog {
            let id = id_of("service", &entry.kind);
            let row = json!({ "type": entry.kind, "name": entry.name, "enabled": true, "description": "" });
            present(self.records.insert(SERVICES, &id, &row).await)?;
            for interface in ["public", "internal", "admin"] {
                let endpoint = id_of("endpoint", &format!("{}/{interface}", entry.kind));
                let row = json!({
                    "interface": interface, "url": entry.url, "service_id": id, "region_id": seed.region,
                    "region": seed.region, "enabled": true,
                });
                present(self.records.insert(ENDPOINTS, &endpoint, &row).await)?;
            }
        }
        Ok(())
    }
}

/// What is there already is fine.
fn present(made: Result<(), IdentityError>) -> Result<(), IdentityError> {
    match made {
        Err(IdentityError::Taken) => Ok(()),
        other => other,
    }
}

fn id_of(kind: &str, name: &str) -> String {
    let hash = blake3::hash(format!("{kind}/{name}").as_bytes());
    hash.to_hex()[..32].to_owned()
}
