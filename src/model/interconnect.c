/* SPDX-License-Identifier: Apache-2.0 */
#include "model/interconnect.h"

#include "model/device.h"
#include "model/processor.h"

enum bus_answer bus_read(struct interconnect *bus, uint64_t line, bool own)
{
	if (bus_is_table_line(line) && bus->config->tables == MODEL_TABLES_IN_PROCESSOR) {
		bus->counts.table_line_reads_elsewhere++;
		bus->now_ns += MODEL_MEMORY_NS;
		return BUS_SHARED;
	}
	bus->counts.bus_reads++;
	bus->now_ns += MODEL_BUS_NS;
	return device_read(bus->device, line, own);
}

void bus_upgrade(struct interconnect *bus, uint64_t line)
{
	bus->counts.bus_upgrades++;
	bus->now_ns += MODEL_BUS_NS;
	device_upgrade(bus->device, line);
}

void bus_give_up(struct interconnect *bus, uint64_t line, bool modified)
{
	bus->counts.bus_write_backs += modified;
	if (!bus_is_table_line(line))
		device_take_back(bus->device, line, modified);
}

bool bus_invalidate(struct interconnect *bus, uint64_t line)
{
	return processor_invalidate(bus->processor, line);
}

bool bus_clean(struct interconnect *bus, uint64_t line)
{
	return processor_clean(bus->processor, line);
}

void bus_shoot_down(struct interconnect *bus, uint64_t vpn)
{
	processor_shoot_down(bus->processor, vpn);
}
