-- A catalog of schema version 1: what `sqlite3 FILE .dump` showed, in lines of 100 columns.
-- Never edited: what a released version wrote must stay readable.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE schema_version (version BIGINT NOT NULL);
INSERT INTO schema_version VALUES(1);
CREATE TABLE cluster ( one BIGINT PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, name TEXT NOT
 NULL);
INSERT INTO cluster VALUES(1,'09072a38-759e-48b3-a695-a69955105fb0','main');
CREATE TABLE peers ( id TEXT PRIMARY KEY, name TEXT NOT NULL, address TEXT NOT NULL,
 certificate_pem TEXT NOT NULL, fingerprint TEXT NOT NULL, networks TEXT NOT NULL, pools TEXT
 NOT NULL, rate_limit BIGINT NOT NULL, last_contact BIGINT, capabilities TEXT NOT NULL);
INSERT INTO peers VALUES('ac2de120-92c2-4930-a751-ae71274d44b6','dr','192.0.2.1:7373',replace(
 '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n','\n',char(10)),
 'fingerprint of dr','{"dmz":"vlan8","lan":"vlan7"}','{"fast":"vms"}',52428800,1700000000005,
 '{"cpu_models":["Skylake-Server"],"features":["resume","lz4"],"host_arch":"x86_64","k'||
 'vm":true,"machines":["pc-q35-7.2","q35"],"networks":["lan"],"pools":[{"driver":"qcow'||
 '2","free":42949672960,"name":"vms","total":107374182400}],"tpm":false,"uefi":true,"v'||
 'ersion":"0.1.0"}');
CREATE TABLE invites (secret_hash TEXT PRIMARY KEY, expires BIGINT NOT NULL);
INSERT INTO invites VALUES('hash',1700000000100);
CREATE TABLE vms ( id TEXT PRIMARY KEY, name TEXT NOT NULL, epoch BIGINT NOT NULL, owner TEXT
 NOT NULL, phase TEXT NOT NULL, autostart BIGINT NOT NULL, disks TEXT NOT NULL, head_parent
 TEXT);
INSERT INTO vms VALUES('3cd1f249-c298-4db8-8c8c-6af912258192','web1',7,
 'd0260d67-2eda-40b0-99b6-b57334a70ab8','replica',1,
 '[{"pool":"vms","target":"vda","volume":"1c2efefc-8e26-4373-a831-a8a5a107f0d9"},{"poo'||
 'l":"bulk","target":"vdb","volume":"d178aa9f-3eb3-426b-8577-51e6bd17046a"}]',NULL);
CREATE TABLE snapshots ( id TEXT PRIMARY KEY, vm TEXT NOT NULL REFERENCES vms (id), name TEXT
 NOT NULL, parent TEXT, taken BIGINT NOT NULL, consistency TEXT NOT NULL, epoch BIGINT NOT NULL,
 origin TEXT NOT NULL, disks TEXT NOT NULL, ordinal BIGINT NOT NULL, UNIQUE (vm, name));
INSERT INTO snapshots VALUES('1f7e9e67-42a8-4b8a-ac03-4c705b9a9f52',
 '3cd1f249-c298-4db8-8c8c-6af912258192','nightly',NULL,1700000000000,'filesystem',7,
 '39cdfb37-88dc-4c20-8609-220a3fe06b49',
 '[{"pool":"vms","size":4294967296,"target":"vda","volume":"1c2efefc-8e26-4373-a831-a8'||
 'a5a107f0d9"},{"pool":"bulk","size":4294967296,"target":"vdb","volume":"d178aa9f-3eb3'||
 '-426b-8577-51e6bd17046a"}]',1);
INSERT INTO snapshots VALUES('0cf6a3d1-0f8c-45df-a65b-e54653f06c29',
 '3cd1f249-c298-4db8-8c8c-6af912258192','later','1f7e9e67-42a8-4b8a-ac03-4c705b9a9f52',
 1700000060000,'filesystem',7,'dbeb0294-1360-43a4-8893-7700920c15af',
 '[{"pool":"vms","size":4294967296,"target":"vda","volume":"1c2efefc-8e26-4373-a831-a8'||
 'a5a107f0d9"},{"pool":"bulk","size":4294967296,"target":"vdb","volume":"d178aa9f-3eb3'||
 '-426b-8577-51e6bd17046a"}]',2);
CREATE TABLE definitions ( snapshot TEXT PRIMARY KEY REFERENCES snapshots (id) ON DELETE
 CASCADE, domain_xml TEXT NOT NULL, nvram TEXT NOT NULL);
INSERT INTO definitions VALUES('1f7e9e67-42a8-4b8a-ac03-4c705b9a9f52',replace(
 '<domain type=''kvm''><name>a "b" & ''c''</name></domain>\n','\n',char(10)),'AP8B');
INSERT INTO definitions VALUES('0cf6a3d1-0f8c-45df-a65b-e54653f06c29',replace(
 '<domain type=''kvm''><name>a "b" & ''c''</name></domain>\n','\n',char(10)),'AP8B');
CREATE TABLE holds ( snapshot TEXT NOT NULL REFERENCES snapshots (id), vm TEXT NOT NULL, kind
 TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (snapshot, kind, detail));
INSERT INTO holds VALUES('1f7e9e67-42a8-4b8a-ac03-4c705b9a9f52',
 '3cd1f249-c298-4db8-8c8c-6af912258192','base','ac2de120-92c2-4930-a751-ae71274d44b6');
INSERT INTO holds VALUES('0cf6a3d1-0f8c-45df-a65b-e54653f06c29',
 '3cd1f249-c298-4db8-8c8c-6af912258192','user','audit');
CREATE TABLE replications ( vm TEXT NOT NULL REFERENCES vms (id), peer TEXT NOT NULL, snapshot
 TEXT NOT NULL, snapshot_taken BIGINT NOT NULL, sent BIGINT NOT NULL, readiness TEXT NOT NULL,
 PRIMARY KEY (vm, peer));
INSERT INTO replications VALUES('3cd1f249-c298-4db8-8c8c-6af912258192',
 'ac2de120-92c2-4930-a751-ae71274d44b6','1f7e9e67-42a8-4b8a-ac03-4c705b9a9f52',1700000000000,
 1700000000007,'[]');
CREATE TABLE transfers ( id TEXT PRIMARY KEY, source TEXT NOT NULL, vm TEXT NOT NULL, snapshot
 TEXT NOT NULL, request TEXT NOT NULL, domain_xml TEXT NOT NULL, nvram TEXT NOT NULL,
 durable_disk BIGINT NOT NULL, durable_offset BIGINT NOT NULL, received BIGINT NOT NULL, created
 BIGINT NOT NULL, updated BIGINT NOT NULL, UNIQUE (vm, snapshot));
INSERT INTO transfers VALUES('9b6f9cbc-570d-4eb7-b75c-7704cbcd41a3',
 '434e7972-062b-4c6e-b7a9-851e71d358a8','3cd1f249-c298-4db8-8c8c-6af912258192',
 '75899aa3-9365-48a7-b9d1-a0a2d9f8635f',
 '{"base":"c2949710-c629-4f49-af03-ddb3e4b650d8","ownership":{"epoch":7,"owner":"d0260'||
 'd67-2eda-40b0-99b6-b57334a70ab8","phase":"replica"},"snapshot":{"consistency":"files'||
 'ystem","disks":[{"pool":"vms","size":4294967296,"target":"vda","volume":"1c2efefc-8e'||
 '26-4373-a831-a8a5a107f0d9"},{"pool":"bulk","size":4294967296,"target":"vdb","volume"'||
 ':"d178aa9f-3eb3-426b-8577-51e6bd17046a"}],"epoch":7,"id":"75899aa3-9365-48a7-b9d1-a0'||
 'a2d9f8635f","name":"coming","origin":"5d3a5aa0-2d20-4597-8e50-f118e64139b4","parent"'||
 ':"0cf6a3d1-0f8c-45df-a65b-e54653f06c29","taken":"2023-11-14T22:14:50.000Z","vm":"3cd'||
 '1f249-c298-4db8-8c8c-6af912258192"},"vm":"3cd1f249-c298-4db8-8c8c-6af912258192","vm_'||
 'name":"web1"}',replace('<domain type=''kvm''><name>a "b" & ''c''</name></domain>\n','\n',char(
 10)),'AP8B',1,4096,3145728,1700000000010,1700000000011);
CREATE TABLE tasks ( id TEXT PRIMARY KEY, kind TEXT NOT NULL, vm TEXT, title TEXT NOT NULL,
 arguments TEXT NOT NULL, state TEXT NOT NULL, step TEXT NOT NULL, memo TEXT NOT NULL, result
 TEXT NOT NULL, done_bytes BIGINT NOT NULL, total_bytes BIGINT NOT NULL, wire_bytes BIGINT NOT
 NULL, rate_bytes BIGINT NOT NULL, note TEXT NOT NULL, attempts BIGINT NOT NULL, error_kind TEXT
 NOT NULL, error TEXT NOT NULL, cancel_requested BIGINT NOT NULL, created BIGINT NOT NULL,
 not_before BIGINT NOT NULL, started BIGINT, ended BIGINT, lease_node TEXT NOT NULL, lease_until
 BIGINT, ordinal BIGINT NOT NULL, log_lines BIGINT NOT NULL);
INSERT INTO tasks VALUES('707c1542-a828-425c-b054-ad4256fbec4f','send',
 '3cd1f249-c298-4db8-8c8c-6af912258192','send web1@nightly to dr','{"peer":"dr"}','running',
 'plan','{"seen":1}','',1,2,3,4,'vda: 41 %',1,'','',0,1700000000000,1700000000000,1700000000005,
 NULL,'node1',1700000001005,1,1);
INSERT INTO tasks VALUES('1535a3d6-7cdf-4d81-aa36-7cc9f54e37f2','send',NULL,
 'send web1@nightly to dr','{"peer":"dr"}','queued','plan','{"seen":1}','',1,2,3,4,'vda: 41 %',0,
 '','',0,1700000000001,1700000000001,NULL,NULL,'',NULL,2,0);
CREATE TABLE task_log ( task TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE, sequence
 BIGINT NOT NULL, time BIGINT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (task, sequence));
INSERT INTO task_log VALUES('707c1542-a828-425c-b054-ad4256fbec4f',1,1700000000006,
 'planned: 2 disks');
CREATE INDEX peers_by_fingerprint ON peers (fingerprint);
CREATE INDEX snapshots_by_time ON snapshots (vm, taken, ordinal);
CREATE INDEX snapshots_by_parent ON snapshots (parent);
CREATE UNIQUE INDEX one_base_hold_per_peer ON holds (vm, detail) WHERE kind = 'base';
CREATE UNIQUE INDEX one_running_task_per_vm ON tasks (vm) WHERE state = 'running';
CREATE INDEX active_tasks ON tasks (not_before, created, ordinal) WHERE state IN ('queued',
 'running');
CREATE INDEX tasks_by_age ON tasks (created, ordinal);
CREATE INDEX tasks_by_vm ON tasks (vm, created, ordinal);
CREATE INDEX tasks_by_ordinal ON tasks (ordinal);
COMMIT;
