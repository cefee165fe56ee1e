package xenapi

import "time"

// The records of the classes around the VM, as far as the model has them. Source: xen-api
// ocaml/idl/datamodel.ml and its datamodel_*.ml.

type hostRecord struct {
	uuid, label, description, address, metrics, controlDomain string

	enabled               *bool
	cpuInfo, otherConfig  map[string]string
	residentVMs, hostCPUs []string
}

var hostFields = fields[hostRecord]{
	"uuid":             text(func(r *hostRecord) *string { return &r.uuid }),
	"name_label":       text(func(r *hostRecord) *string { return &r.label }),
	"name_description": text(func(r *hostRecord) *string { return &r.description }),
	"address":          text(func(r *hostRecord) *string { return &r.address }),
	"metrics":          text(func(r *hostRecord) *string { return &r.metrics }),
	"control_domain":   text(func(r *hostRecord) *string { return &r.controlDomain }),
	"enabled":          boolean(func(r *hostRecord) **bool { return &r.enabled }),
	"cpu_info":         dict(func(r *hostRecord) *map[string]string { return &r.cpuInfo }),
	"other_config":     dict(func(r *hostRecord) *map[string]string { return &r.otherConfig }),
	"resident_VMs":     set(func(r *hostRecord) *[]string { return &r.residentVMs }),
	"host_CPUs":        set(func(r *hostRecord) *[]string { return &r.hostCPUs }),
}

type hostMetricsRecord struct {
	total, free *int64
	live        *bool
}

var hostMetricsFields = fields[hostMetricsRecord]{
	"memory_total": integer(func(r *hostMetricsRecord) **int64 { return &r.total }),
	"memory_free":  integer(func(r *hostMetricsRecord) **int64 { return &r.free }),
	"live":         boolean(func(r *hostMetricsRecord) **bool { return &r.live }),
}

type srRecord struct {
	uuid, label, description, kind, content string

	size, used *int64
	shared     *bool
}

var srFields = fields[srRecord]{
	"uuid":                 text(func(r *srRecord) *string { return &r.uuid }),
	"name_label":           text(func(r *srRecord) *string { return &r.label }),
	"name_description":     text(func(r *srRecord) *string { return &r.description }),
	"type":                 text(func(r *srRecord) *string { return &r.kind }),
	"content_type":         text(func(r *srRecord) *string { return &r.content }),
	"physical_size":        integer(func(r *srRecord) **int64 { return &r.size }),
	"physical_utilisation": integer(func(r *srRecord) **int64 { return &r.used }),
	"shared":               boolean(func(r *srRecord) **bool { return &r.shared }),
}

type vdiRecord struct {
	uuid, label, description, sr, kind, onBoot string

	size, used                  *int64
	sharable, readOnly, missing *bool
	vbds                        []string
}

var vdiFields = fields[vdiRecord]{
	"uuid":                 text(func(r *vdiRecord) *string { return &r.uuid }),
	"name_label":           text(func(r *vdiRecord) *string { return &r.label }),
	"name_description":     text(func(r *vdiRecord) *string { return &r.description }),
	"SR":                   text(func(r *vdiRecord) *string { return &r.sr }),
	"type":                 text(func(r *vdiRecord) *string { return &r.kind }),
	"on_boot":              text(func(r *vdiRecord) *string { return &r.onBoot }),
	"virtual_size":         integer(func(r *vdiRecord) **int64 { return &r.size }),
	"physical_utilisation": integer(func(r *vdiRecord) **int64 { return &r.used }),
	"sharable":             boolean(func(r *vdiRecord) **bool { return &r.sharable }),
	"read_only":            boolean(func(r *vdiRecord) **bool { return &r.readOnly }),
	"missing":              boolean(func(r *vdiRecord) **bool { return &r.missing }),
	"VBDs":                 set(func(r *vdiRecord) *[]string { return &r.vbds }),
}

type vbdRecord struct {
	uuid, vm, vdi, device, position, mode, kind string

	bootable, empty, attached *bool
}

var vbdFields = fields[vbdRecord]{
	"uuid":               text(func(r *vbdRecord) *string { return &r.uuid }),
	"VM":                 text(func(r *vbdRecord) *string { return &r.vm }),
	"VDI":                text(func(r *vbdRecord) *string { return &r.vdi }),
	"device":             text(func(r *vbdRecord) *string { return &r.device }),
	"userdevice":         text(func(r *vbdRecord) *string { return &r.position }),
	"mode":               text(func(r *vbdRecord) *string { return &r.mode }),
	"type":               text(func(r *vbdRecord) *string { return &r.kind }),
	"bootable":           boolean(func(r *vbdRecord) **bool { return &r.bootable }),
	"empty":              boolean(func(r *vbdRecord) **bool { return &r.empty }),
	"currently_attached": boolean(func(r *vbdRecord) **bool { return &r.attached }),
}

type vifRecord struct {
	uuid, device, mac, network string

	mtu      *int64
	attached *bool
}

var vifFields = fields[vifRecord]{
	"uuid":               text(func(r *vifRecord) *string { return &r.uuid }),
	"device":             text(func(r *vifRecord) *string { return &r.device }),
	"MAC":                text(func(r *vifRecord) *string { return &r.mac }),
	"network":            text(func(r *vifRecord) *string { return &r.network }),
	"MTU":                integer(func(r *vifRecord) **int64 { return &r.mtu }),
	"currently_attached": boolean(func(r *vifRecord) **bool { return &r.attached }),
}

type networkRecord struct {
	uuid, label, description, bridge string

	mtu *int64
}

var networkFields = fields[networkRecord]{
	"uuid":             text(func(r *networkRecord) *string { return &r.uuid }),
	"name_label":       text(func(r *networkRecord) *string { return &r.label }),
	"name_description": text(func(r *networkRecord) *string { return &r.description }),
	"bridge":           text(func(r *networkRecord) *string { return &r.bridge }),
	"MTU":              integer(func(r *networkRecord) **int64 { return &r.mtu }),
}

// consoleRecord leaves the location out: it holds a reference and an internal address.
type consoleRecord struct{ uuid, protocol string }

var consoleFields = fields[consoleRecord]{
	"uuid":     text(func(r *consoleRecord) *string { return &r.uuid }),
	"protocol": text(func(r *consoleRecord) *string { return &r.protocol }),
}

type metricsRecord struct {
	memory, vcpus            *int64
	utilisation              map[string]float64
	started, installed, when *time.Time
}

var metricsFields = fields[metricsRecord]{
	"memory_actual":     integer(func(r *metricsRecord) **int64 { return &r.memory }),
	"VCPUs_number":      integer(func(r *metricsRecord) **int64 { return &r.vcpus }),
	"VCPUs_utilisation": floats(func(r *metricsRecord) *map[string]float64 { return &r.utilisation }),
	"start_time":        moment(func(r *metricsRecord) **time.Time { return &r.started }),
	"install_time":      moment(func(r *metricsRecord) **time.Time { return &r.installed }),
	"last_updated":      moment(func(r *metricsRecord) **time.Time { return &r.when }),
}

type guestRecord struct {
	os, drivers, networks, other map[string]string

	upToDate, live *bool
	when           *time.Time
}

var guestFields = fields[guestRecord]{
	"os_version":            dict(func(r *guestRecord) *map[string]string { return &r.os }),
	"PV_drivers_version":    dict(func(r *guestRecord) *map[string]string { return &r.drivers }),
	"networks":              dict(func(r *guestRecord) *map[string]string { return &r.networks }),
	"other":                 dict(func(r *guestRecord) *map[string]string { return &r.other }),
	"PV_drivers_up_to_date": boolean(func(r *guestRecord) **bool { return &r.upToDate }),
	"live":                  boolean(func(r *guestRecord) **bool { return &r.live }),
	"last_updated":          moment(func(r *guestRecord) **time.Time { return &r.when }),
}

type crashDumpRecord struct{ uuid, vdi string }

var crashDumpFields = fields[crashDumpRecord]{
	"uuid": text(func(r *crashDumpRecord) *string { return &r.uuid }),
	"VDI":  text(func(r *crashDumpRecord) *string { return &r.vdi }),
}

type tpmRecord struct {
	uuid, persistence string

	unique, protected *bool
}

var tpmFields = fields[tpmRecord]{
	"uuid":                text(func(r *tpmRecord) *string { return &r.uuid }),
	"persistence_backend": text(func(r *tpmRecord) *string { return &r.persistence }),
	"is_unique":           boolean(func(r *tpmRecord) **bool { return &r.unique }),
	"is_protected":        boolean(func(r *tpmRecord) **bool { return &r.protected }),
}

type taskRecord struct {
	uuid, label, status, result string

	allowed, errorInfo []string
	created, finished  *time.Time
	progress           *float64
}

var taskFields = fields[taskRecord]{
	"uuid":               text(func(r *taskRecord) *string { return &r.uuid }),
	"name_label":         text(func(r *taskRecord) *string { return &r.label }),
	"status":             text(func(r *taskRecord) *string { return &r.status }),
	"result":             text(func(r *taskRecord) *string { return &r.result }),
	"allowed_operations": set(func(r *taskRecord) *[]string { return &r.allowed }),
	"error_info":         set(func(r *taskRecord) *[]string { return &r.errorInfo }),
	"created":            moment(func(r *taskRecord) **time.Time { return &r.created }),
	"finished":           moment(func(r *taskRecord) **time.Time { return &r.finished }),
	"progress":           float(func(r *taskRecord) **float64 { return &r.progress }),
}
