/* SPDX-License-Identifier: Apache-2.0 */
/* Power, and the saves that it, a command or the agent's own end asks for. */

#include "agent/agent_state.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"

#define NS_PER_MS 1000000u

static void begin_save(struct agent *agent, enum power_reason reason)
{
	agent->save_reason = reason != POWER_BY_COMMAND ? IMAGE_POWER
			     : agent->ending		? IMAGE_STOPPED
			     : agent->rehearsing	? IMAGE_REHEARSED
							: IMAGE_COMMANDED;
	agent->saving = true;
	agent->predicted_ns = budget_save_ns(&agent->terms, agent_save_bytes(agent));
	agent_freeze_begin(agent);
}

void agent_save_still(struct agent *agent)
{
	mover_save(agent->mover, agent->save_reason);
}

static void act(struct agent *agent, const struct power_action *action)
{
	if (action->words.text[0])
		log_line("%s", action->words.text);
	if (action->what == POWER_DO_SAVE)
		begin_save(agent, action->reason);
	if (action->what == POWER_DO_RESUME) {
		mover_go(agent->mover);
		agent_freeze_end(agent);
	}
}

void agent_power(struct agent *agent, enum power_event_kind kind)
{
	struct power_event event = {
		.kind = kind,
		.now_ns = clock_now_ns(),
		.save_ns = budget_save_ns(&agent->terms, agent_save_bytes(agent)),
	};
	struct power_action action;

	if (kind == POWER_UPS) {
		ups_look(agent->ups, event.now_ns, &agent->view);
		event.ups = agent->view.power;
	}
	power_step(&agent->power, &event, &action);
	act(agent, &action);
	/* All is saved, and the primary waits for us before it has the power cut (S4). */
	if (agent->ups && power_may_log_out(&agent->power)) {
		log_line("logged out from the UPS's server: it may cut the power");
		ups_close(agent->ups);
		agent->ups = NULL;
	}
}

int agent_ask_save(struct agent *agent, bool rehearse, struct error *why)
{
	if (agent->ending)
		return error_set(why, -ESHUTDOWN, "the agent is ending, and saves for that");
	if (agent->power.state != POWER_RUNNING && !agent->saving)
		return error_set(why, -EBUSY, "saved already: power is out");
	if (!agent->saving) {
		agent->rehearsing = rehearse;
		agent_power(agent, POWER_COMMAND);
	}
	return 0;
}

void agent_settle_save(struct agent *agent)
{
	struct mover_save *save = &agent->last_save;

	if (!mover_take_save(agent->mover, save))
		return;
	agent->saving = false;
	agent->last_predicted_ns = agent->predicted_ns;
	agent->last_saved_unix_ns = clock_unix_ns();
	if (save->result)
		log_line("the save FAILED: %s; the generation before it is kept", save->why.text);
	else
		log_line("saved %" PRIu64 " regions: %" PRIu64 " pages, %" PRIu64 " KiB in %" PRIu64
			 " ms",
			 save->regions, save->pages, save->bytes >> 10, save->write_ns / NS_PER_MS);
	agent_power(agent, save->result ? POWER_SAVE_FAILED : POWER_SAVE_DONE);
	agent_answer_save(agent);
	agent->rehearsing = false;
	if (agent->ending && agent->power.state == POWER_RUNNING &&
	    agent->save_reason != IMAGE_STOPPED)
		agent_power(agent, POWER_COMMAND);
}

/* Told to end: when a save that began after that has ended, well or not, or power is out. */
bool agent_may_end(const struct agent *agent)
{
	return agent->ending && !agent->saving && agent->last_saved_unix_ns;
}
