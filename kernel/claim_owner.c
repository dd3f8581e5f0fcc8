// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The right to write an image: which of the tables that have joined a claim has
 * its turn, and which bytes say so to tools.
 *
 *	state     event                            becomes            else
 *	reserved  writer activates                 active(it)         EBUSY: active readers
 *	active    writer parks, all written        parked(it)
 *	active    writer parks, not all written    lost(it)
 *	parked    writer of the owner's device or
 *	          of the heir's activates          active(it)         EBUSY
 *	parked    reader of the owner's device
 *	          activates                        reserved           EBUSY
 *	parked    handover names a device          parked, with heir  ENOENT, EINVAL
 *	parked    owner leaves                     parked(other table of the device) or reserved
 *	lost      anybody activates                lost: all its I/O fails
 *	lost      last user but views leaves       reserved
 *
 * A reader activates beside other readers, a view always. An heir is forgotten
 * when either device activates, when a table of either goes, and when the next
 * one is named. Where EBUSY stands above, and where byte 300 cannot be had,
 * nothing has changed.
 *
 * Lost outlives the table that lost the image: with another table of the same
 * disk still there, somebody may have a file system mounted that knows of
 * writes which the image does not have.
 */
#include <linux/dcache.h>
#include "claim_owner.h"

/* ------------------------------------------------------------------------
 * Words
 */

struct file *qcow2_claim_file(const struct qcow2_use *use)
{
	return use->point[0] ? use->point[0]->bytes.file : NULL;
}

void qcow2_claim_complain(const struct qcow2_claim *claim, const struct qcow2_use *use,
			  const struct file *file, const char *fmt, ...)
{
	const char *device = dm_device_name(use->md);
	struct va_format vaf = { .fmt = fmt };
	va_list args;

	va_start(args, fmt);
	vaf.va = &args;
	if (file)
		DMERR("%s: %pD4: %pV", device, file, &vaf);
	else
		DMERR("%s: %u:%u: %pV", device, MAJOR(claim->dev), MINOR(claim->dev), &vaf);
	va_end(args);
}

void __qcow2_claim_complain_of(const struct qcow2_claim *claim, const struct qcow2_use *use,
			       const struct file *file, const struct qcow2_use *holder)
{
	const char *how = "in use";
	char name[DM_NAME_LEN];

	lockdep_assert_held(&claim->mutex);
	if (holder == claim->own.owner && claim->own.state == QCOW2_CLAIM_PARKED)
		how = "parked";
	if (holder == claim->own.owner && claim->own.state == QCOW2_CLAIM_LOST)
		how = "lost";
	if (dm_copy_name_and_uuid(holder->md, name, NULL))
		strscpy(name, "being removed", sizeof(name));
	qcow2_claim_complain(claim, use, file, "image is %s by device %s (%s)", how, name,
			     dm_device_name(holder->md));
}

/* ------------------------------------------------------------------------
 * Bytes
 *
 * They follow from users and state, always by the same rule:
 *
 * QEMU's bytes of the strongest role that has joined, from the first join to
 * the last leave without a gap, also while suspended. Byte 301 while a view
 * has joined. Byte 300, which separates kernel and tool, while somebody active
 * relies on metadata that a tool would change. A view relies on the owner for
 * that where there is one, so that a tool can edit beside the view while the
 * owner is parked.
 */

static unsigned int wanted_bytes(const struct qcow2_claim *claim)
{
	enum qcow2_claim_state state = claim->own.state;
	unsigned int mask = 0;

	if (claim->nr_uses[QCOW2_ROLE_WRITER])
		mask |= QCOW2_BYTES_WRITER;
	else if (claim->nr_uses[QCOW2_ROLE_READER] || claim->nr_uses[QCOW2_ROLE_VIEW])
		mask |= QCOW2_BYTES_READER;
	if (claim->nr_uses[QCOW2_ROLE_VIEW])
		mask |= BIT(QCOW2_BYTE_VIEW);
	if (state == QCOW2_CLAIM_ACTIVE || state == QCOW2_CLAIM_LOST ||
	    claim->nr_active[QCOW2_ROLE_READER] ||
	    (claim->nr_active[QCOW2_ROLE_VIEW] && state == QCOW2_CLAIM_RESERVED))
		mask |= BIT(QCOW2_BYTE_MAINTENANCE);
	return mask;
}

int __qcow2_claim_update_bytes(struct qcow2_claim *claim, unsigned int *conflict)
{
	lockdep_assert_held(&claim->mutex);
	return qcow2_claim_points_set(&claim->points, wanted_bytes(claim), conflict);
}

/*
 * Only one change that cannot be refused wants a byte more: a view that loses
 * its owner wants byte 300. While a tool has it the view does without; what the
 * view sees is safe, because of byte 301.
 */
void __qcow2_claim_settle_bytes(struct qcow2_claim *claim, const struct qcow2_use *use)
{
	unsigned int conflict = 0;
	int ret;

	ret = __qcow2_claim_update_bytes(claim, &conflict);
	if (!ret)
		return;
	qcow2_claim_complain(claim, use, qcow2_claim_file(use),
			     "no lock on byte %u for the views that stay (%pe)",
			     conflict, ERR_PTR(ret));
	qcow2_claim_points_set(&claim->points, wanted_bytes(claim) & claim->points.held, &conflict);
}

/* ------------------------------------------------------------------------
 * Ownership
 */

static void __set_owner(struct qcow2_claim *claim, const struct qcow2_ownership *own)
{
	lockdep_assert_held(&claim->mutex);
	claim->own.owner = own->owner;
	claim->own.heir = own->heir;
	WRITE_ONCE(claim->own.state, own->state);
	WRITE_ONCE(claim->owner_md, own->owner ? own->owner->md : NULL);
}

static void __set_active(struct qcow2_use *use, bool active)
{
	struct qcow2_claim *claim = use->claim;

	lockdep_assert_held(&claim->mutex);
	WRITE_ONCE(use->active, active);
	if (active)
		claim->nr_active[use->role]++;
	else
		claim->nr_active[use->role]--;
}

static struct qcow2_use *__find_use(struct qcow2_claim *claim, enum qcow2_role role,
				    const struct mapped_device *md)
{
	struct qcow2_use *use;

	list_for_each_entry(use, &claim->uses[role], list) {
		if (use->md == md)
			return use;
	}
	return NULL;
}

/* Who stands for the disk when the table that parked or lost it has gone? */
static struct qcow2_use *__find_successor(struct qcow2_claim *claim,
					  const struct qcow2_ownership *own)
{
	struct list_head *writers = &claim->uses[QCOW2_ROLE_WRITER];
	struct list_head *readers = &claim->uses[QCOW2_ROLE_READER];
	struct qcow2_use *use;

	use = __find_use(claim, QCOW2_ROLE_WRITER, own->owner->md) ?:
	      __find_use(claim, QCOW2_ROLE_READER, own->owner->md);
	if (use || own->state != QCOW2_CLAIM_LOST)
		return use;
	/* Only tables of the same disk could join beside it. */
	return list_first_entry_or_null(writers, struct qcow2_use, list) ?:
	       list_first_entry_or_null(readers, struct qcow2_use, list);
}

static void __strike_out(struct qcow2_claim *claim, struct qcow2_use *use,
			 struct qcow2_ownership *own)
{
	if (own->heir && (use == own->heir || use->md == own->owner->md))
		own->heir = NULL;
	if (use != own->owner)
		return;
	own->owner = __find_successor(claim, own);
	if (!own->owner)
		own->state = QCOW2_CLAIM_RESERVED;
}

void __qcow2_claim_disown(struct qcow2_claim *claim, struct qcow2_use *use)
{
	struct qcow2_ownership own = claim->own;

	/* A table whose resume failed after ours was done: no I/O has run. */
	if (use->active)
		__set_active(use, false);
	if (own.owner == use && own.state == QCOW2_CLAIM_ACTIVE)
		own.state = QCOW2_CLAIM_PARKED;
	__strike_out(claim, use, &own);
	__set_owner(claim, &own);

	if (claim->undo_use == use)
		claim->undo_use = NULL;
	if (claim->undo_use)
		__strike_out(claim, use, &claim->undo);
}

/* The right to write passes to a writer; a reader of the owner's device gives it up. */
static void __pass_ownership(struct qcow2_claim *claim, struct qcow2_use *use)
{
	struct qcow2_ownership own = { .state = QCOW2_CLAIM_RESERVED };

	if (use->role == QCOW2_ROLE_VIEW ||
	    (use->role == QCOW2_ROLE_READER && claim->own.state == QCOW2_CLAIM_RESERVED))
		return;
	if (use->role == QCOW2_ROLE_WRITER) {
		own.state = QCOW2_CLAIM_ACTIVE;
		own.owner = use;
	}
	claim->undo = claim->own;
	claim->undo_use = use;
	__set_owner(claim, &own);
}

/* Undo that, unless another reader has become active since the right was given up. */
static void __return_ownership(struct qcow2_claim *claim, struct qcow2_use *use)
{
	if (claim->undo_use != use)
		return;
	claim->undo_use = NULL;
	if (use->role == QCOW2_ROLE_WRITER || !claim->nr_active[QCOW2_ROLE_READER])
		__set_owner(claim, &claim->undo);
}

/* ------------------------------------------------------------------------
 * Becoming active and stopping
 */

static struct qcow2_use *__find_active_reader(struct qcow2_claim *claim)
{
	struct qcow2_use *use;

	if (!claim->nr_active[QCOW2_ROLE_READER])
		return NULL;
	list_for_each_entry(use, &claim->uses[QCOW2_ROLE_READER], list) {
		if (use->active)
			return use;
	}
	return NULL;
}

/* Who keeps @use from becoming active? */
static struct qcow2_use *__find_blocker(struct qcow2_claim *claim, const struct qcow2_use *use)
{
	const struct qcow2_ownership *own = &claim->own;
	bool writes = use->role == QCOW2_ROLE_WRITER;

	if (use->role == QCOW2_ROLE_VIEW)
		return NULL;
	if (own->state == QCOW2_CLAIM_ACTIVE)
		return own->owner;
	if (own->state == QCOW2_CLAIM_PARKED && own->owner->md != use->md &&
	    !(writes && own->heir && own->heir->md == use->md))
		return own->owner;
	return writes ? __find_active_reader(claim) : NULL;
}

static bool is_current(const struct qcow2_claim *claim, const struct file *file)
{
	return !claim->inode || d_real_inode(file_dentry(file)) == claim->inode;
}

static int __check_turn(struct qcow2_claim *claim, const struct qcow2_use *use)
{
	struct qcow2_use *blocker = __find_blocker(claim, use);
	struct file *file = qcow2_claim_file(use);

	if (blocker) {
		__qcow2_claim_complain_of(claim, use, file, blocker);
		return -EBUSY;
	}
	if (file && !is_current(claim, file)) {
		qcow2_claim_complain(claim, use, file, "image was copied up by overlayfs");
		return -ESTALE;
	}
	return 0;
}

static int __activate(struct qcow2_claim *claim, struct qcow2_use *use)
{
	struct file *file = qcow2_claim_file(use);
	unsigned int conflict = 0;
	int ret;

	ret = __check_turn(claim, use);
	if (ret)
		return ret;
	__pass_ownership(claim, use);
	__set_active(use, true);
	ret = __qcow2_claim_update_bytes(claim, &conflict);
	if (!ret)
		return 0;

	__set_active(use, false);
	__return_ownership(claim, use);
	if (ret == -EAGAIN) {
		qcow2_claim_complain(claim, use, file, "image is being edited by a tool (byte %u)",
				     conflict);
		return -EBUSY;
	}
	qcow2_claim_complain(claim, use, file, "cannot lock byte %u (%pe)", conflict,
			     ERR_PTR(ret));
	return ret;
}

int qcow2_claim_activate(struct qcow2_use *use)
{
	struct qcow2_claim *claim = use->claim;
	int ret = 0;

	mutex_lock(&claim->mutex);
	if (claim->own.state == QCOW2_CLAIM_LOST)
		ret = 1;
	else if (!use->active)
		ret = __activate(claim, use);
	mutex_unlock(&claim->mutex);
	return ret;
}

void qcow2_claim_deactivate(struct qcow2_use *use)
{
	struct qcow2_claim *claim = use->claim;

	mutex_lock(&claim->mutex);
	if (use->active) {
		__set_active(use, false);
		__return_ownership(claim, use);
		__qcow2_claim_settle_bytes(claim, use);
	}
	mutex_unlock(&claim->mutex);
}

static void __park(struct qcow2_claim *claim, struct qcow2_use *use, bool clean)
{
	struct qcow2_ownership own = {
		.state = clean ? QCOW2_CLAIM_PARKED : QCOW2_CLAIM_LOST,
		.owner = use,
	};

	__set_active(use, false);
	if (claim->undo_use == use)
		claim->undo_use = NULL;
	if (claim->own.owner == use)
		__set_owner(claim, &own);
	__qcow2_claim_settle_bytes(claim, use);
}

void qcow2_claim_park(struct qcow2_use *use, bool clean)
{
	struct qcow2_claim *claim = use->claim;

	mutex_lock(&claim->mutex);
	if (use->active)
		__park(claim, use, clean);
	mutex_unlock(&claim->mutex);
}

/* A view that becomes active later looks at its snapshot by itself, and that is later than now. */
void qcow2_claim_recheck(struct qcow2_use *use)
{
	struct qcow2_claim *claim = use->claim;
	struct qcow2_use *view;

	mutex_lock(&claim->mutex);
	list_for_each_entry(view, &claim->uses[QCOW2_ROLE_VIEW], list) {
		if (view->active)
			view->recheck(view);
	}
	mutex_unlock(&claim->mutex);
}

/* ------------------------------------------------------------------------
 * Handover and getters
 */

static struct qcow2_use *__find_number(struct qcow2_claim *claim, enum qcow2_role role, dev_t dev)
{
	struct qcow2_use *use;

	list_for_each_entry(use, &claim->uses[role], list) {
		if (disk_devt(dm_disk(use->md)) == dev)
			return use;
	}
	return NULL;
}

static int __handover(struct qcow2_claim *claim, const struct qcow2_use *use, dev_t dev)
{
	struct qcow2_ownership *own = &claim->own;
	struct qcow2_use *heir;

	if (own->state != QCOW2_CLAIM_PARKED || own->owner->md != use->md)
		return -EINVAL;
	own->heir = NULL;
	heir = __find_number(claim, QCOW2_ROLE_WRITER, dev);
	if (!heir)
		return __find_number(claim, QCOW2_ROLE_READER, dev) ? -EINVAL : -ENOENT;
	if (heir->md == use->md)
		return -EINVAL;
	own->heir = heir;
	return 0;
}

int qcow2_claim_handover(struct qcow2_use *use, dev_t heir)
{
	struct qcow2_claim *claim = use->claim;
	int ret;

	mutex_lock(&claim->mutex);
	ret = __handover(claim, use, heir);
	mutex_unlock(&claim->mutex);
	return ret;
}

enum qcow2_claim_state qcow2_claim_state(const struct qcow2_use *use)
{
	const struct qcow2_claim *claim = use->claim;
	enum qcow2_claim_state state;

	if (!claim)
		return QCOW2_CLAIM_RESERVED;
	state = READ_ONCE(claim->own.state);
	if (state == QCOW2_CLAIM_LOST)
		return state;
	if (READ_ONCE(use->active))
		return QCOW2_CLAIM_ACTIVE;
	if (state == QCOW2_CLAIM_PARKED && READ_ONCE(claim->owner_md) == use->md)
		return state;
	return QCOW2_CLAIM_RESERVED;
}

const char *qcow2_claim_state_name(enum qcow2_claim_state state)
{
	static const char * const names[] = {
		[QCOW2_CLAIM_RESERVED] = "reserved",
		[QCOW2_CLAIM_ACTIVE] = "active",
		[QCOW2_CLAIM_PARKED] = "parked",
		[QCOW2_CLAIM_LOST] = "lost",
	};

	return names[state];
}

unsigned int qcow2_claim_users(const struct qcow2_use *use)
{
	const struct qcow2_claim *claim = use->claim;
	unsigned int sum = 0;
	int role;

	for (role = 0; claim && role < QCOW2_NR_ROLES; role++)
		sum += READ_ONCE(claim->nr_uses[role]);
	return sum;
}
