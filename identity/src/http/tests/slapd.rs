//! Debian's slapd with a few people in it, for a test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ldap3::LdapConnAsync;
use tempfile::TempDir;

use crate::ldap::LdapOptions;

const SLAPD: &str = "/usr/sbin/slapd";
const ROOT: &str = "cn=root,dc=example,dc=org";
const ROOT_PASSWORD: &str = "roots-password";
/// How long slapd may take to listen.
const START_MAX: Duration = Duration::from_secs(20);

const ENTRIES: &str = "\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: uid=alice,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: A
mail: alice@example.org
userPassword: alices-password

dn: uid=bob (x)*,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob (x)*
cn: Bob
sn: B
userPassword: bobs-password

dn: cn=writers,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: writers
member: uid=alice,ou=people,dc=example,dc=org
";

/// A running slapd; ends when dropped.
pub(super) struct Slapd {
    pub(super) process: Child,
    pub(super) port: u16,
    pub(super) secure_port: u16,
    pub(super) folder: TempDir,
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

pub(super) fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    (certificate, key)
}

impl Slapd {
    /// None, and a line that says so, when it is not installed.
    pub(super) fn start() -> Option<Self> {
        if !Path::new(SLAPD).exists() {
            eprintln!("skipped: {SLAPD} is missing (apt-get install slapd)");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = folder.path();
        let (certificate, key) = certificate(at);
        std::fs::create_dir(at.join("db")).expect("a folder");
        let settings = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             TLSCertificateFile {}\nTLSCertificateKeyFile {}\nTLSVerifyClient never\n\
             database mdb\nsuffix \"dc=example,dc=org\"\nrootdn \"{ROOT}\"\nrootpw {ROOT_PASSWORD}\ndirectory {}\n",
            certificate.display(),
            key.display(),
            at.join("db").display()
        );
        let conf = at.join("slapd.conf");
        std::fs::write(&conf, settings).expect("written");
        std::fs::write(at.join("entries.ldif"), ENTRIES).expect("written");
        let added = Command::new(SLAPD)
            .args(["-T", "add", "-f"])
            .arg(&conf)
            .arg("-l")
            .arg(at.join("entries.ldif"))
            .output()
            .expect("slapd runs");
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let (port, secure_port) = (free_port(), free_port());
        let process = Command::new(SLAPD)
            .args([
                "-d",
                "0",
                "-h",
                &format!("ldap://127.0.0.1:{port} ldaps://127.0.0.1:{secure_port}"),
                "-f",
            ])
            .arg(&conf)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("slapd starts");
        let began = Instant::now();
        let listens = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        while !(listens(port) && listens(secure_port)) {
            assert!(began.elapsed() < START_MAX, "slapd does not listen");
            std::thread::yield_now();
        }
        Some(Self {
            process,
            port,
            secure_port,
            folder,
        })
    }

    pub(super) fn options(&self) -> LdapOptions {
        LdapOptions {
            bind_dn: Some(ROOT.into()),
            bind_password: Some(ROOT_PASSWORD.to_owned().into()),
            group_base: Some("ou=groups,dc=example,dc=org".into()),
            ..LdapOptions::new(
                "corp",
                &format!("ldap://127.0.0.1:{}", self.port),
                "ou=people,dc=example,dc=org",
            )
        }
    }

    /// A connection of whoever may change everything.
    pub(super) async fn root(&self) -> ldap3::Ldap {
        let (connection, mut ldap) = LdapConnAsync::new(&format!("ldap://127.0.0.1:{}", self.port))
            .await
            .expect("it listens");
        tokio::spawn(connection.drive());
        let bound = ldap.simple_bind(ROOT, ROOT_PASSWORD).await.expect("answered");
        bound.success().expect("bound");
        ldap
    }
}
