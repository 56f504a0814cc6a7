mod commits;
mod leadership;
mod rig;
mod submissions;
