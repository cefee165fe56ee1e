package backends

import "time"

// Resource is something that can be read beside VMs: a collection of the backend, one object of
// it, or a part of a VM.
type Resource string

// The resources, and the type that [Driver.Read] gives for each.
const (
	Hosts     Resource = "hosts"     // []Host
	Templates Resource = "templates" // []Template
	Images    Resource = "images"    // []Image
	Storages  Resource = "storages"  // []Storage
	Networks  Resource = "networks"  // []Network

	HostByID     Resource = "host"     // Host
	TemplateByID Resource = "template" // Template
	ImageByID    Resource = "image"    // Image
	StorageByID  Resource = "storage"  // Storage
	NetworkByID  Resource = "network"  // Network

	VMDisks         Resource = "vm.disks"                // []Disk
	VMNICs          Resource = "vm.nics"                 // []NIC
	VMConsoles      Resource = "vm.consoles"             // []Console
	VMMetrics       Resource = "vm.metrics"              // Metrics
	VMGuestMetrics  Resource = "vm.guestMetrics"         // GuestMetrics
	VMCrashDumps    Resource = "vm.crashDumps"           // []CrashDump
	VMTPMs          Resource = "vm.tpms"                 // []TPM
	VMBootRecord    Resource = "vm.bootRecord"           // VM, as it was when it booted
	VMPossibleHosts Resource = "vm.possibleHosts"        // []Host
	VMAllowedDisks  Resource = "vm.disks:allowedDevices" // []string
	VMAllowedNICs   Resource = "vm.nics:allowedDevices"  // []string
)

// Resources is every Resource.
var Resources = []Resource{
	Hosts, Templates, Images, Storages, Networks,
	HostByID, TemplateByID, ImageByID, StorageByID, NetworkByID,
	VMDisks, VMNICs, VMConsoles, VMMetrics, VMGuestMetrics, VMCrashDumps, VMTPMs, VMBootRecord,
	VMPossibleHosts, VMAllowedDisks, VMAllowedNICs,
}

// Host is a machine that runs VMs. OpenNebula HOST; XenAPI host with host_metrics.
type Host struct {
	ID               ID                `json:"id"`
	Backend          string            `json:"backend"`
	DisplayName      string            `json:"displayName"`
	Description      *string           `json:"description,omitempty"`
	State            string            `json:"state"`                  // ENABLED, DISABLED, OFFLINE, ERROR, UNKNOWN
	RawState         string            `json:"rawState,omitempty"`     // the backend's own word or number
	Address          string            `json:"address,omitempty"`      // XenAPI host.address
	CPUs             *int64            `json:"cpus,omitempty"`         // physical CPUs (threads)
	CPUUsedShare     *float64          `json:"cpuUsedShare,omitempty"` // OpenNebula: CPUs given to VMs
	MemoryTotalBytes *int64            `json:"memoryTotalBytes,omitempty"`
	MemoryFreeBytes  *int64            `json:"memoryFreeBytes,omitempty"`
	VMs              []ID              `json:"vms,omitzero"` // VMs on it now
	Annotations      map[string]string `json:"annotations,omitzero"`
	Native           any               `json:"native,omitempty"`
}

// Template is what new VMs are made from. OpenNebula VMTEMPLATE; XenAPI VM with is_a_template.
type Template struct {
	ID          ID                `json:"id"`
	Backend     string            `json:"backend"`
	DisplayName string            `json:"displayName"`
	Description *string           `json:"description,omitempty"`
	Owner       *Owner            `json:"owner,omitempty"`
	CPU         *CPU              `json:"cpu,omitempty"`
	Memory      *Memory           `json:"memory,omitempty"`
	Default     *bool             `json:"default,omitempty"` // XenAPI: ships with the product
	CreateTime  *time.Time        `json:"createTime,omitempty"`
	Annotations map[string]string `json:"annotations,omitzero"`
	Native      any               `json:"native,omitempty"`
}

// Image is a disk's contents. OpenNebula IMAGE; XenAPI VDI.
type Image struct {
	ID          ID         `json:"id"`
	Backend     string     `json:"backend"`
	DisplayName string     `json:"displayName"`
	Description *string    `json:"description,omitempty"`
	Owner       *Owner     `json:"owner,omitempty"`
	Type        string     `json:"type,omitempty"`  // the backend's own word: OS, CDROM, DATABLOCK…; system, user, suspend…
	State       string     `json:"state,omitempty"` // the backend's own word: READY, USED…
	SizeBytes   *int64     `json:"sizeBytes,omitempty"`
	UsedBytes   *int64     `json:"usedBytes,omitempty"`
	Storage     *Ref       `json:"storage,omitempty"`
	Persistent  *bool      `json:"persistent,omitempty"`
	ReadOnly    *bool      `json:"readOnly,omitempty"`
	CreateTime  *time.Time `json:"createTime,omitempty"`
	Native      any        `json:"native,omitempty"`
}

// Storage holds images. OpenNebula DATASTORE; XenAPI SR.
type Storage struct {
	ID          ID      `json:"id"`
	Backend     string  `json:"backend"`
	DisplayName string  `json:"displayName"`
	Description *string `json:"description,omitempty"`
	Owner       *Owner  `json:"owner,omitempty"`
	Type        string  `json:"type,omitempty"`        // the backend's own word: IMAGE, SYSTEM, FILE; lvm, nfs, iso…
	ContentType string  `json:"contentType,omitempty"` // XenAPI
	TotalBytes  *int64  `json:"totalBytes,omitempty"`
	FreeBytes   *int64  `json:"freeBytes,omitempty"`
	UsedBytes   *int64  `json:"usedBytes,omitempty"`
	Shared      *bool   `json:"shared,omitempty"`
	Native      any     `json:"native,omitempty"`
}

// Network connects VMs. OpenNebula VNET; XenAPI network.
type Network struct {
	ID          ID      `json:"id"`
	Backend     string  `json:"backend"`
	DisplayName string  `json:"displayName"`
	Description *string `json:"description,omitempty"`
	Owner       *Owner  `json:"owner,omitempty"`
	Bridge      string  `json:"bridge,omitempty"`
	MTU         *int64  `json:"mtu,omitempty"`
	VLAN        *int64  `json:"vlan,omitempty"`
	Native      any     `json:"native,omitempty"`
}

// Disk is one drive of a VM. Its ID is the VM's own (OpenNebula DISK_ID, unique in its VM only) or
// the VBD's uuid.
type Disk struct {
	ID         ID     `json:"id"`
	Device     string `json:"device,omitempty"`   // vda, xvda
	Position   string `json:"position,omitempty"` // XenAPI userdevice
	Type       string `json:"type,omitempty"`     // DISK, CDROM, FLOPPY, SWAP, FS, CONTEXT; UNKNOWN
	Mode       string `json:"mode,omitempty"`     // RW or RO
	Bootable   *bool  `json:"bootable,omitempty"`
	Attached   *bool  `json:"attached,omitempty"`
	Empty      *bool  `json:"empty,omitempty"` // a drive without a medium
	SizeBytes  *int64 `json:"sizeBytes,omitempty"`
	UsedBytes  *int64 `json:"usedBytes,omitempty"`
	Image      *Ref   `json:"image,omitempty"`
	Storage    *Ref   `json:"storage,omitempty"`
	Persistent *bool  `json:"persistent,omitempty"`
	Native     any    `json:"native,omitempty"`
}

// NIC is one network interface of a VM. Its ID is OpenNebula's NIC_ID, or the VIF's uuid.
type NIC struct {
	ID        ID       `json:"id"`
	Device    string   `json:"device,omitempty"`
	MAC       string   `json:"mac,omitempty"`
	MTU       *int64   `json:"mtu,omitempty"`
	Network   *Ref     `json:"network,omitempty"`
	Addresses []string `json:"addresses,omitzero"`
	Attached  *bool    `json:"attached,omitempty"`
	Alias     *bool    `json:"alias,omitempty"` // OpenNebula NIC_ALIAS
	Parent    *ID      `json:"parent,omitempty"`
	Native    any      `json:"native,omitempty"`
}

// Console is a way to the VM's screen or serial line. Where it listens is not told to clients.
type Console struct {
	ID       ID     `json:"id"`
	Protocol string `json:"protocol"` // RFB, VT100, RDP, SPICE, SDL; UNKNOWN
	Raw      string `json:"raw,omitempty"`
	Port     *int64 `json:"port,omitempty"` // OpenNebula GRAPHICS/PORT
}

// Metrics are the last sample of a VM, from the outside.
type Metrics struct {
	SampleTime        *time.Time         `json:"sampleTime,omitempty"`
	StartTime         *time.Time         `json:"startTime,omitempty"`
	InstallTime       *time.Time         `json:"installTime,omitempty"`
	CPUUsedPercent    *float64           `json:"cpuUsedPercent,omitempty"` // of one CPU: 200 is two
	VCPUs             *int64             `json:"vcpus,omitempty"`
	VCPUUtilisation   map[string]float64 `json:"vcpuUtilisation,omitzero"` // 0…1 by vCPU number
	MemoryActualBytes *int64             `json:"memoryActualBytes,omitempty"`
	DiskReadBytes     *int64             `json:"diskReadBytes,omitempty"`
	DiskWriteBytes    *int64             `json:"diskWriteBytes,omitempty"`
	DiskReadOps       *int64             `json:"diskReadOps,omitempty"`
	DiskWriteOps      *int64             `json:"diskWriteOps,omitempty"`
	NetReceivedBytes  *int64             `json:"netReceivedBytes,omitempty"`
	NetSentBytes      *int64             `json:"netSentBytes,omitempty"`
	Native            any                `json:"native,omitempty"`
}

// GuestMetrics are what the guest itself tells. OpenNebula has only addresses from the context.
type GuestMetrics struct {
	SampleTime *time.Time        `json:"sampleTime,omitempty"`
	Live       *bool             `json:"live,omitempty"`
	OSVersion  map[string]string `json:"osVersion,omitzero"`
	Drivers    map[string]string `json:"drivers,omitzero"`
	UpToDate   *bool             `json:"driversUpToDate,omitempty"`
	Addresses  []string          `json:"addresses,omitzero"`
	Networks   map[string]string `json:"networks,omitzero"`
	Features   map[string]string `json:"features,omitzero"`
	Native     any               `json:"native,omitempty"`
}

// CrashDump is a saved memory image of a crashed VM (XenAPI crashdump).
type CrashDump struct {
	ID        ID     `json:"id"`
	Image     *Ref   `json:"image,omitempty"`
	SizeBytes *int64 `json:"sizeBytes,omitempty"`
}

// TPM is a virtual TPM. OpenNebula 7 has one by its model only, with the id 0.
type TPM struct {
	ID        ID     `json:"id"`
	Model     string `json:"model,omitempty"`
	Unique    *bool  `json:"unique,omitempty"`
	Protected *bool  `json:"protected,omitempty"`
	Storage   string `json:"persistence,omitempty"` // XenAPI persistence_backend
}
