-- Made by `python -m scripts.schema` from the rooms' tables.py; change those.
CREATE TABLE toolkit_agent_activation (
    id TEXT NOT NULL,
    agent TEXT NOT NULL,
    version INTEGER,
    kind TEXT NOT NULL,
    reason TEXT,
    previous_id TEXT,
    changed_by TEXT NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_agent_activation PRIMARY KEY (id),
    CONSTRAINT ck_toolkit_agent_activation_kind CHECK (kind IN ('activated', 'rolled_back', 'deactivated'))
);
CREATE INDEX ix_toolkit_agent_activation_agent ON toolkit_agent_activation (agent, id);
CREATE TABLE toolkit_agent_case (
    id TEXT NOT NULL,
    agent TEXT NOT NULL,
    data_set TEXT NOT NULL,
    name TEXT NOT NULL,
    input TEXT NOT NULL,
    expected TEXT,
    note TEXT,
    created_by TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_agent_case PRIMARY KEY (id),
    CONSTRAINT uq_toolkit_agent_case_agent_data_set_name UNIQUE (agent, data_set, name)
);
CREATE TABLE toolkit_agent_evaluation (
    id TEXT NOT NULL,
    agent TEXT NOT NULL,
    data_set TEXT NOT NULL,
    version INTEGER,
    run_id TEXT,
    passed BOOLEAN,
    report TEXT,
    started_by TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_agent_evaluation PRIMARY KEY (id)
);
CREATE INDEX ix_toolkit_agent_evaluation_agent ON toolkit_agent_evaluation (agent, id);
CREATE TABLE toolkit_agent_event (
    position BIGSERIAL NOT NULL,
    run_id TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    agent TEXT NOT NULL,
    step TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    data TEXT NOT NULL,
    CONSTRAINT pk_toolkit_agent_event PRIMARY KEY (position),
    CONSTRAINT uq_toolkit_agent_event_run_id_id UNIQUE (run_id, id)
);
CREATE INDEX ix_toolkit_agent_event_at ON toolkit_agent_event (at);
CREATE INDEX ix_toolkit_agent_event_run ON toolkit_agent_event (run_id, position);
CREATE TABLE toolkit_agent_history (
    id TEXT NOT NULL,
    agent TEXT NOT NULL,
    run_id TEXT NOT NULL,
    step TEXT NOT NULL,
    messages TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_agent_history PRIMARY KEY (id)
);
CREATE TABLE toolkit_agent_pointer (
    agent TEXT NOT NULL,
    active_version INTEGER,
    generation INTEGER NOT NULL,
    activation_id TEXT,
    CONSTRAINT pk_toolkit_agent_pointer PRIMARY KEY (agent)
);
CREATE TABLE toolkit_agent_version (
    id TEXT NOT NULL,
    agent TEXT NOT NULL,
    number INTEGER NOT NULL,
    changes TEXT NOT NULL,
    note TEXT,
    created_by TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_agent_version PRIMARY KEY (id),
    CONSTRAINT uq_toolkit_agent_version_agent_number UNIQUE (agent, number),
    CONSTRAINT ck_toolkit_agent_version_number CHECK (number > 0)
);
CREATE TABLE toolkit_audit (
    id TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    action TEXT NOT NULL,
    object_kind TEXT NOT NULL,
    object_id TEXT NOT NULL,
    details TEXT NOT NULL,
    request_id TEXT,
    CONSTRAINT pk_toolkit_audit PRIMARY KEY (id)
);
CREATE INDEX ix_toolkit_audit_actor ON toolkit_audit (actor, id);
CREATE INDEX ix_toolkit_audit_object ON toolkit_audit (object_kind, object_id, id);
CREATE TABLE toolkit_entity_move (
    id TEXT NOT NULL,
    entity TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    field TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    by TEXT NOT NULL,
    CONSTRAINT pk_toolkit_entity_move PRIMARY KEY (id)
);
CREATE INDEX ix_toolkit_entity_move_entity ON toolkit_entity_move (entity, entity_id, id);
CREATE TABLE toolkit_entity_version (
    entity TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    action TEXT NOT NULL,
    values TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    by TEXT NOT NULL,
    CONSTRAINT pk_toolkit_entity_version PRIMARY KEY (entity, entity_id, version),
    CONSTRAINT ck_toolkit_entity_version_action CHECK (action IN ('created', 'updated', 'deleted'))
);
CREATE TABLE toolkit_event (
    id VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    seq BIGINT,
    run_id VARCHAR,
    wait_id VARCHAR,
    payload TEXT,
    idempotency_key VARCHAR,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_event PRIMARY KEY (id)
);
CREATE INDEX ix_toolkit_event_target ON toolkit_event (key, run_id, seq);
CREATE INDEX ix_toolkit_event_unnumbered ON toolkit_event (id) WHERE seq IS NULL;
CREATE UNIQUE INDEX uq_toolkit_event_key ON toolkit_event (key, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX uq_toolkit_event_seq ON toolkit_event (key, seq);
CREATE TABLE toolkit_file (
    id TEXT NOT NULL,
    filename TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    storage TEXT NOT NULL,
    key TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_by TEXT NOT NULL,
    state TEXT NOT NULL,
    quarantine_reason TEXT,
    CONSTRAINT pk_toolkit_file PRIMARY KEY (id),
    CONSTRAINT ck_toolkit_file_size CHECK (size >= 0),
    CONSTRAINT ck_toolkit_file_state CHECK (state IN ('stored', 'quarantined'))
);
CREATE INDEX ix_toolkit_file_created_by ON toolkit_file (created_by, id);
CREATE INDEX ix_toolkit_file_key ON toolkit_file (storage, key);
CREATE INDEX ix_toolkit_file_sha256 ON toolkit_file (sha256);
CREATE TABLE toolkit_file_sweep (
    name TEXT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    count INTEGER NOT NULL,
    CONSTRAINT pk_toolkit_file_sweep PRIMARY KEY (name)
);
CREATE TABLE toolkit_group (
    id TEXT NOT NULL,
    display_name TEXT NOT NULL,
    CONSTRAINT pk_toolkit_group PRIMARY KEY (id)
);
CREATE TABLE toolkit_membership (
    user_id TEXT NOT NULL,
    group_id TEXT NOT NULL,
    CONSTRAINT pk_toolkit_membership PRIMARY KEY (user_id, group_id)
);
CREATE INDEX ix_toolkit_membership_group ON toolkit_membership (group_id, user_id);
CREATE TABLE toolkit_notification (
    id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    event TEXT NOT NULL,
    channel TEXT,
    recipient TEXT,
    details TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    last_error TEXT,
    CONSTRAINT pk_toolkit_notification PRIMARY KEY (id),
    CONSTRAINT ck_toolkit_notification_state CHECK (state IN ('pending', 'done', 'failed'))
);
CREATE INDEX ix_toolkit_notification_due ON toolkit_notification (due_at, id) WHERE state = 'pending';
CREATE INDEX ix_toolkit_notification_task ON toolkit_notification (task_id, id);
CREATE TABLE toolkit_rule_activation (
    id TEXT NOT NULL,
    rule TEXT NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER,
    previous_id TEXT,
    reason TEXT,
    created_by TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_rule_activation PRIMARY KEY (id),
    CONSTRAINT ck_toolkit_rule_activation_kind CHECK (kind IN ('activated', 'rolled_back', 'deactivated'))
);
CREATE INDEX ix_toolkit_rule_activation_rule ON toolkit_rule_activation (rule, id);
CREATE TABLE toolkit_rule_case (
    rule TEXT NOT NULL,
    name TEXT NOT NULL,
    input TEXT NOT NULL,
    expected TEXT NOT NULL,
    note TEXT,
    changed_by TEXT NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_rule_case PRIMARY KEY (rule, name)
);
CREATE TABLE toolkit_rule_pointer (
    rule TEXT NOT NULL,
    active_version INTEGER,
    generation INTEGER NOT NULL,
    activation_id TEXT,
    next_version INTEGER,
    next_at TIMESTAMP WITH TIME ZONE,
    next_by TEXT,
    next_reason TEXT,
    changed_by TEXT NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_rule_pointer PRIMARY KEY (rule),
    CONSTRAINT ck_toolkit_rule_pointer_activation CHECK (activation_id IS NOT NULL OR active_version IS NULL),
    CONSTRAINT ck_toolkit_rule_pointer_next CHECK ((next_version IS NULL) = (next_at IS NULL))
);
CREATE TABLE toolkit_rule_shadow (
    rule TEXT NOT NULL,
    version INTEGER NOT NULL,
    started_by TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    compared INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    CONSTRAINT pk_toolkit_rule_shadow PRIMARY KEY (rule),
    CONSTRAINT ck_toolkit_rule_shadow_counts CHECK (changed + failed <= compared)
);
CREATE TABLE toolkit_rule_shadow_difference (
    rule TEXT NOT NULL,
    decision TEXT NOT NULL,
    version INTEGER NOT NULL,
    fields TEXT NOT NULL,
    CONSTRAINT pk_toolkit_rule_shadow_difference PRIMARY KEY (rule, decision)
);
CREATE TABLE toolkit_rule_trust (
    rule TEXT NOT NULL,
    version INTEGER NOT NULL,
    reason TEXT NOT NULL,
    trusted_by TEXT NOT NULL,
    trusted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_rule_trust PRIMARY KEY (rule, version)
);
CREATE TABLE toolkit_rule_version (
    id TEXT NOT NULL,
    rule TEXT NOT NULL,
    number INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    contract_sha256 TEXT NOT NULL,
    graph TEXT NOT NULL,
    compiled TEXT NOT NULL,
    report TEXT NOT NULL,
    note TEXT,
    created_by TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_rule_version PRIMARY KEY (id),
    CONSTRAINT uq_toolkit_rule_version_rule_number UNIQUE (rule, number),
    CONSTRAINT uq_toolkit_rule_version_rule_sha256_contract_sha256 UNIQUE (rule, sha256, contract_sha256),
    CONSTRAINT ck_toolkit_rule_version_number CHECK (number > 0)
);
CREATE TABLE toolkit_run (
    id VARCHAR NOT NULL,
    workflow VARCHAR NOT NULL,
    version VARCHAR,
    state VARCHAR NOT NULL,
    input TEXT NOT NULL,
    input_digest VARCHAR NOT NULL,
    result TEXT,
    error TEXT,
    priority INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    worker_id VARCHAR,
    warm_worker VARCHAR,
    due_at TIMESTAMP WITH TIME ZONE,
    losses INTEGER NOT NULL,
    total_losses INTEGER NOT NULL,
    idempotency_key VARCHAR,
    parent_id VARCHAR,
    parent_wait VARCHAR,
    started_by VARCHAR,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    paused_at TIMESTAMP WITH TIME ZONE,
    cancel_requested_at TIMESTAMP WITH TIME ZONE,
    cancel_reason VARCHAR,
    cancelled_by VARCHAR,
    deadline_at TIMESTAMP WITH TIME ZONE,
    close_policy VARCHAR,
    cancel_mode VARCHAR,
    on_cancel VARCHAR,
    continued_from VARCHAR,
    continued_as VARCHAR,
    is_watched BOOLEAN,
    progress TEXT,
    error_summary VARCHAR,
    paused_by VARCHAR,
    forked_from VARCHAR,
    forked_at_step VARCHAR,
    key_run_id VARCHAR,
    originators VARCHAR,
    CONSTRAINT pk_toolkit_run PRIMARY KEY (id),
    CONSTRAINT ck_toolkit_run_state CHECK (state IN ('pending', 'running', 'suspended', 'succeeded', 'failed', 'cancelled', 'parked')),
    CONSTRAINT ck_toolkit_run_finished CHECK ((finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled')))
);
CREATE INDEX ix_toolkit_run_continued ON toolkit_run (continued_from) WHERE continued_from IS NOT NULL;
CREATE INDEX ix_toolkit_run_deadline ON toolkit_run (deadline_at) WHERE deadline_at IS NOT NULL AND finished_at IS NULL AND cancel_requested_at IS NULL;
CREATE INDEX ix_toolkit_run_due ON toolkit_run (priority DESC, due_at) WHERE state IN ('pending', 'suspended') AND due_at IS NOT NULL;
CREATE INDEX ix_toolkit_run_error ON toolkit_run (id) WHERE error_summary IS NOT NULL;
CREATE INDEX ix_toolkit_run_forked ON toolkit_run (forked_from) WHERE forked_from IS NOT NULL;
CREATE INDEX ix_toolkit_run_parent ON toolkit_run (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX ix_toolkit_run_paused ON toolkit_run (id) WHERE paused_at IS NOT NULL;
CREATE INDEX ix_toolkit_run_state ON toolkit_run (state, id);
CREATE INDEX ix_toolkit_run_suspect ON toolkit_run (due_at) WHERE losses >= 2 AND state IN ('pending', 'suspended');
CREATE INDEX ix_toolkit_run_worker ON toolkit_run (worker_id) WHERE state = 'running';
CREATE INDEX ix_toolkit_run_workflow ON toolkit_run (workflow, id);
CREATE UNIQUE INDEX uq_toolkit_run_key ON toolkit_run (workflow, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE TABLE toolkit_schedule (
    name VARCHAR NOT NULL,
    workflow VARCHAR NOT NULL,
    timing VARCHAR NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_due_at TIMESTAMP WITH TIME ZONE,
    last_run_id VARCHAR,
    paused_at TIMESTAMP WITH TIME ZONE,
    paused_by VARCHAR,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_schedule PRIMARY KEY (name)
);
CREATE TABLE toolkit_substitute (
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    substitute_id TEXT NOT NULL,
    first_day DATE NOT NULL,
    last_day DATE NOT NULL,
    CONSTRAINT pk_toolkit_substitute PRIMARY KEY (id),
    CONSTRAINT ck_toolkit_substitute_days CHECK (first_day <= last_day),
    CONSTRAINT ck_toolkit_substitute_other CHECK (user_id <> substitute_id)
);
CREATE INDEX ix_toolkit_substitute_substitute ON toolkit_substitute (substitute_id, last_day);
CREATE INDEX ix_toolkit_substitute_user ON toolkit_substitute (user_id);
CREATE TABLE toolkit_task (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT,
    message TEXT,
    workflow TEXT NOT NULL,
    run_id TEXT NOT NULL,
    state TEXT NOT NULL,
    input TEXT NOT NULL,
    suggested_data TEXT,
    confidence TEXT,
    files TEXT NOT NULL,
    output TEXT,
    output_schema_digest TEXT NOT NULL,
    assigned_to TEXT,
    assigned_by TEXT,
    owner TEXT,
    sent_back_to TEXT,
    sent_back_by TEXT,
    candidates TEXT NOT NULL,
    prepared_by TEXT NOT NULL,
    four_eyes INTEGER NOT NULL,
    quorum TEXT,
    priority INTEGER NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    due_order TIMESTAMP WITH TIME ZONE NOT NULL,
    ladder TEXT NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_by TEXT,
    completed_at TIMESTAMP WITH TIME ZONE,
    completed_by TEXT,
    ended_at TIMESTAMP WITH TIME ZONE,
    ended_by TEXT,
    end_reason TEXT,
    evidence TEXT,
    version INTEGER NOT NULL,
    CONSTRAINT pk_toolkit_task PRIMARY KEY (id),
    CONSTRAINT ck_toolkit_task_state CHECK (state IN ('open', 'claimed', 'completed', 'cancelled', 'expired')),
    CONSTRAINT ck_toolkit_task_ended CHECK ((state IN ('open', 'claimed')) = (ended_at IS NULL)),
    CONSTRAINT ck_toolkit_task_completed CHECK ((state = 'completed') = (completed_at IS NOT NULL))
);
CREATE INDEX ix_toolkit_task_assigned ON toolkit_task (assigned_to, state, id);
CREATE INDEX ix_toolkit_task_due ON toolkit_task (state, due_order, priority DESC, id);
CREATE INDEX ix_toolkit_task_name ON toolkit_task (name, state, id);
CREATE INDEX ix_toolkit_task_next ON toolkit_task (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX ix_toolkit_task_run ON toolkit_task (run_id, id);
CREATE INDEX ix_toolkit_task_state ON toolkit_task (state, id);
CREATE TABLE toolkit_task_change (
    id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    note TEXT,
    details TEXT NOT NULL,
    number BIGINT,
    CONSTRAINT pk_toolkit_task_change PRIMARY KEY (id)
);
CREATE INDEX ix_toolkit_task_change_new ON toolkit_task_change (id) WHERE number IS NULL;
CREATE INDEX ix_toolkit_task_change_number ON toolkit_task_change (number);
CREATE INDEX ix_toolkit_task_change_task ON toolkit_task_change (task_id, id);
CREATE TABLE toolkit_task_draft (
    task_id TEXT NOT NULL,
    person TEXT NOT NULL,
    output TEXT NOT NULL,
    saved_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_task_draft PRIMARY KEY (task_id, person)
);
CREATE TABLE toolkit_task_inbox (
    task_id TEXT NOT NULL,
    actor TEXT NOT NULL,
    due_order TIMESTAMP WITH TIME ZONE NOT NULL,
    priority INTEGER NOT NULL,
    CONSTRAINT pk_toolkit_task_inbox PRIMARY KEY (task_id, actor)
);
CREATE INDEX ix_toolkit_task_inbox_actor ON toolkit_task_inbox (actor, due_order, priority DESC, task_id);
CREATE TABLE toolkit_task_link (
    id TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    task_id TEXT NOT NULL,
    person TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_by TEXT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_toolkit_task_link PRIMARY KEY (id),
    CONSTRAINT uq_toolkit_task_link_token UNIQUE (token_hash)
);
CREATE INDEX ix_toolkit_task_link_task ON toolkit_task_link (task_id, id);
CREATE TABLE toolkit_task_vote (
    task_id TEXT NOT NULL,
    voter TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    output TEXT NOT NULL,
    is_rejection INTEGER NOT NULL,
    groups TEXT NOT NULL,
    evidence TEXT NOT NULL,
    CONSTRAINT pk_toolkit_task_vote PRIMARY KEY (task_id, voter)
);
CREATE TABLE toolkit_user (
    id TEXT NOT NULL,
    display_name TEXT NOT NULL,
    email TEXT,
    channels TEXT,
    CONSTRAINT pk_toolkit_user PRIMARY KEY (id)
);
CREATE TABLE toolkit_worker (
    id VARCHAR NOT NULL,
    host VARCHAR NOT NULL,
    process_id INTEGER NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    heartbeat_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_toolkit_worker PRIMARY KEY (id)
);
CREATE TABLE toolkit_attribute (
    run_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    position FLOAT,
    CONSTRAINT pk_toolkit_attribute PRIMARY KEY (run_id, name),
    CONSTRAINT ck_toolkit_attribute_kind CHECK (kind IN ('tag', 'text', 'number', 'time')),
    CONSTRAINT fk_toolkit_attribute_run_id FOREIGN KEY(run_id) REFERENCES toolkit_run (id)
);
CREATE INDEX ix_toolkit_attribute_position ON toolkit_attribute (name, position, run_id) WHERE position IS NOT NULL;
CREATE INDEX ix_toolkit_attribute_value ON toolkit_attribute (name, value, run_id);
CREATE TABLE toolkit_step (
    run_id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    display_name VARCHAR,
    kind VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    arguments TEXT,
    result TEXT,
    error TEXT,
    details TEXT,
    attempts INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    event_seq BIGINT,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_toolkit_step PRIMARY KEY (run_id, path),
    CONSTRAINT ck_toolkit_step_state CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT fk_toolkit_step_run_id FOREIGN KEY(run_id) REFERENCES toolkit_run (id)
);
CREATE INDEX ix_toolkit_step_event ON toolkit_step (run_id, name, event_seq) WHERE event_seq IS NOT NULL;
CREATE INDEX ix_toolkit_step_rule ON toolkit_step (name, run_id) WHERE kind = 'rule';
CREATE TABLE toolkit_wait (
    id VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    display_name VARCHAR,
    kind VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    event_key VARCHAR,
    after_seq BIGINT NOT NULL,
    deadline_at TIMESTAMP WITH TIME ZONE,
    reference VARCHAR,
    arguments TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_toolkit_wait PRIMARY KEY (id),
    CONSTRAINT ck_toolkit_wait_state CHECK (state IN ('open', 'resolved', 'delivered', 'expired', 'withdrawn', 'cancelled')),
    CONSTRAINT fk_toolkit_wait_run_id FOREIGN KEY(run_id) REFERENCES toolkit_run (id)
);
CREATE INDEX ix_toolkit_wait_key ON toolkit_wait (event_key, run_id) WHERE state = 'open' AND event_key IS NOT NULL;
CREATE INDEX ix_toolkit_wait_run ON toolkit_wait (run_id);
